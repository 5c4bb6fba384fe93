"""Transport: how many bicycles are on hire in an hour? (Washington, 2011; Fanaee-T and Gama 2014; ships with ISLP)

All 8,645 hours; the target is `bikers`. `casual` and `registered` add up to it and are left out.
Hours of one day share its weather: `day` is there to keep them in one part (`--group day`), and is no feature. Hour and
weekday are names, not numbers: 23 h lies beside 0 h.
"""

from pathlib import Path

import pandas as pd

CACHE = Path(__file__).resolve().parents[2] / ".cache"
TARGET = "bikers"


def table() -> pd.DataFrame:
    """A row an hour."""
    hours = pd.read_csv(CACHE / "data/Bikeshare.csv")
    names = {"hr": "hour " + hours["hr"].astype(str), "weekday": "day " + hours["weekday"].astype(str)}
    return hours.assign(**names).drop(columns=["casual", "registered"])


if __name__ == "__main__":
    (CACHE / "trials").mkdir(parents=True, exist_ok=True)
    table().to_csv(CACHE / "trials/bikes.csv", index=False)
