"""Health: does a patient with HIV decline, fall ill or die within two years of entering a trial? (ACTG 175)

2,139 patients, four treatments (Hammer et al., New England Journal of Medicine 335, 1996); the table ships with
lifelines. A survival outcome is made a class: `declined` is 1 where the event came within 730 days, 0 where the
patient was followed longer without it. 200 patients whose follow-up ended earlier without an event are left out: of
them the answer is not known. Only what was known on the first day is used; cell counts of weeks 20 and 96 and "off
treatment" came later.
"""

from pathlib import Path

import pandas as pd

CACHE = Path(__file__).resolve().parents[2] / ".cache"
TARGET = "declined"
DAYS = 730
LATER = ["cd420", "cd820", "cd496", "r", "offtrt", "cens", "days"]
NAMES = ["Unnamed: 0", "pidnum"]
SAME = ["zprior", "treat", "str2"]  # a constant, and two that arms and strat say again


def table() -> pd.DataFrame:
    """A row a patient."""
    patients = pd.read_csv(CACHE / "data/ACTG175.csv")
    event = (patients["cens"] == 1) & (patients["days"] <= DAYS)
    known = patients[event | (patients["days"] > DAYS)]
    arms = known["arms"].map({0: "zidovudine", 1: "with didanosine", 2: "with zalcitabine", 3: "didanosine"})
    return known.drop(columns=LATER + NAMES + SAME).assign(arms=arms, declined=event[known.index].astype(int))


if __name__ == "__main__":
    (CACHE / "trials").mkdir(parents=True, exist_ok=True)
    table().to_csv(CACHE / "trials/actg175.csv", index=False)
