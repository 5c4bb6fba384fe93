"""The tables of examples/trials: rows, targets, and that what was left out as a leak is one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from trial_examples_loaded import DATA, example, needs

FILES = {
    "actg175": "ACTG175.csv",
    "german_credit": "germancredit.csv",
    "loans": "loanapp.csv.bz2",
    "flights": "flights.csv.zip",
    "bikes": "Bikeshare.csv",
}
SHAPES = {
    "actg175": (1939, 17),
    "german_credit": (1000, 19),
    "loans": (1989, 40),
    "flights": (8000, 16),
    "bikes": (8645, 13),
}
POSITIVE = {"actg175": 349, "german_credit": 700, "loans": 1745, "flights": 1893}
KNOWN_BEFORE = {
    "date", "month", "carrier", "origin", "dest", "hour", "distance", "weekday", "temp", "dewp", "humid", "wind_speed",
    "precip", "pressure", "visib", "late",
}  # fmt: skip


@pytest.fixture(scope="module")
def tables():
    found = {}

    def table(name):
        needs(FILES[name])
        if name not in found:
            found[name] = example(name).table()
        return found[name]

    return table


def positive(table, name):
    target = table[example(name).TARGET]
    return (target == "good") if name == "german_credit" else (target == 1)


@pytest.mark.parametrize("name", SHAPES)
def test_size_and_target(tables, name):
    table = tables(name)
    assert table.shape == SHAPES[name]
    assert table[example(name).TARGET].notna().all()
    assert table.columns.is_unique
    if name in POSITIVE:
        assert positive(table, name).sum() == POSITIVE[name]


@pytest.mark.parametrize("name", ["actg175", "loans", "bikes"])
def test_the_same_each_time(tables, name):
    pd.testing.assert_frame_equal(tables(name), example(name).table())


@pytest.mark.parametrize("name", POSITIVE)
def test_no_single_column_gives_the_answer_away(tables, name):
    """A leak orders the classes nearly alone; the best honest column reaches 0.63 to 0.71."""
    table = tables(name)
    answer, features = positive(table, name), table.drop(columns=[example(name).TARGET, "date"], errors="ignore")
    for column in features:
        values = features[column]
        if not pd.api.types.is_numeric_dtype(values):
            values = answer.groupby(values).transform("mean")  # as good as a category can be
        area = roc_auc_score(answer, values.fillna(values.median()))
        assert max(area, 1 - area) < 0.8, (column, area)


def test_what_loans_leaves_out_leaks():
    needs(FILES["loans"])
    loans = pd.read_csv(DATA / FILES["loans"])
    assert (loans["approve"] == 1 - loans["reject"]).all()
    assert loans.loc[loans["typur"] > 0, "approve"].mean() > 0.99
    assert loans.loc[loans["inson"] == 1, "approve"].mean() < 0.1
    guidelines = loans["gdlin"] == 1
    assert loans.loc[guidelines, "approve"].mean() - loans.loc[~guidelines, "approve"].mean() > 0.6


def test_loans_codes_for_not_known_are_missing(tables):
    table = tables("loans")
    assert table[["lines", "term", "liq"]].isna().sum().to_dict() == {"lines": 1, "term": 4, "liq": 9}
    assert table[["lines", "term"]].max().max() < 999_999


def test_what_bikes_leaves_out_adds_up_to_the_target():
    needs(FILES["bikes"])
    hours = pd.read_csv(DATA / FILES["bikes"])
    assert (hours["casual"] + hours["registered"] == hours["bikers"]).all()
    assert not {"casual", "registered"} & set(example("bikes").table())


def test_flights_hold_only_what_was_known_before(tables):
    table = tables("flights")
    assert set(table) == KNOWN_BEFORE
    assert table["temp"].isna().mean() <= 0.005  # the weather was found for all but a few


@pytest.mark.parametrize(("name", "column", "days"), [("flights", "date", 365), ("bikes", "day", 365)])
def test_days_are_kept_in_one_part_and_are_no_feature(tables, name, column, days):
    assert tables(name)[column].nunique() == days
    (one,) = (one for one in example("run_all").EXAMPLES if one.name == name)
    assert one.data[one.data.index("--group") + 1] == column


def test_flights_weather_is_that_of_their_own_hour(tables):
    """Joined again by hand from the planned local hour: an hour off would not agree."""
    table = tables("flights")
    flights = pd.read_csv(DATA / FILES["flights"]).dropna(subset="arr_delay").sample(8000, random_state=0)
    weather = pd.read_csv(DATA / "weather.csv").set_index(["origin", "time_hour"])["temp"]
    for i in (0, 1717, 3999):
        flight = flights.iloc[i]
        assert table["late"].iloc[i] == (flight["arr_delay"] > 15)
        assert table["temp"].iloc[i] == weather[flight["origin"], flight["time_hour"]]


def test_actg175_leaves_out_those_of_whom_nothing_is_known(tables):
    table = tables("actg175")
    patients = pd.read_csv(DATA / FILES["actg175"])
    lost = ((patients["cens"] == 0) & (patients["days"] <= 730)).sum()
    assert len(patients) - len(table) == lost == 200
    assert not {"cd420", "cd820", "cd496", "offtrt", "days", "cens", "pidnum"} & set(table)
    treated = table.groupby("arms")["declined"].mean()
    assert treated["zidovudine"] > treated.drop("zidovudine").max()  # what the trial found


def test_german_credit_leaves_out_sex_and_nationality(tables):
    assert not [column for column in tables("german_credit") if "sex" in column or "foreign" in column]
    assert np.isin(tables("german_credit")["creditability"], ["good", "bad"]).all()


@pytest.mark.parametrize("name", SHAPES)
def test_the_trial_takes_the_table_as_its_command_says(tables, name, tmp_path):
    from opnorm.experiment.data import builtin

    tables(name).to_csv(tmp_path / f"{name}.csv", index=False)
    (one,) = (one for one in example("run_all").EXAMPLES if one.name == name)
    given = dict(zip(one.data[::2], one.data[1::2], strict=True))
    subject = builtin(
        str(tmp_path / f"{name}.csv"),
        given["--target"],
        None,
        metric=given.get("--metric"),
        group=given.get("--group"),
    )
    split = subject.split(0, "full")
    assert sum(map(len, (split.train, split.validation, split.test))) == SHAPES[name][0]
    assert subject.classes == (1 if name == "bikes" else 2)
    assert np.isfinite(split.test.inputs).all()
