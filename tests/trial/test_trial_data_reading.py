"""Tables from files: what is read, and what each wrong file is told."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from opnorm.errors import FileAccessError, UsageError
from opnorm.experiment.data import builtin
from opnorm.experiment.data.tables import read_table

HEADER = "a,b,y\n"


def rows(n: int = 60) -> str:
    draw = np.random.default_rng(0)
    return "".join(f"{draw.normal():.6f},{'uvw'[i % 3]},{'no' if draw.random() < 0.5 else 'yes'}\n" for i in range(n))


def written(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_semicolons_tabs_and_parquet_give_the_same_subject(tmp_path: Path) -> None:
    plain = written(tmp_path, HEADER + rows())
    other = [
        written(tmp_path, "\ufeff" + HEADER + rows(), "bom.csv"),
        written(tmp_path, (HEADER + rows()).replace(",", ";"), "semicolons.csv"),
        written(tmp_path, (HEADER + rows()).replace(",", "\t"), "tabs.TSV"),
        written(tmp_path, (HEADER + rows()).replace("\n", "\r\n"), "windows.csv"),
        tmp_path / "t.parquet",
    ]
    pd.read_csv(plain).to_parquet(other[-1])
    expected = builtin(str(plain), "y", None)
    assert {builtin(str(p), "y", None).source for p in other} == {expected.source}
    assert expected.examples.targets.labels == ("no", "yes")


def test_decimal_commas_are_numbers(tmp_path: Path) -> None:
    """What a German spreadsheet writes: left as text, such columns became categories or were left out as free text."""
    lines = ["Größe;Einkommen;Gewicht;code;y"]
    lines += [
        f"1{i % 9},{i};{i % 3}.{i:03},5{i};{'' if i < 9 else i};x{i % 3},5;{i * 7 % 60},{i % 4}" for i in range(60)
    ]
    frame = read_table(written(tmp_path, "\n".join(lines)))
    assert list(frame["Größe"][:3]) == [10.0, 11.1, 12.2]
    assert list(frame["Einkommen"][:3]) == [0.50, 1001.51, 2002.52]
    assert list(frame["y"][:3]) == [0.0, 7.1, 14.2]
    assert frame["code"][0] == "x0,5"
    examples = builtin(str(tmp_path / "t.csv"), "y", None).examples
    assert examples.targets.task == "regression"
    assert examples.columns is not None
    assert examples.columns.numbers == ("Größe", "Einkommen", "Gewicht")


def test_a_few_strange_words_among_decimal_commas_are_missing(tmp_path: Path) -> None:
    text = "a;y\n" + "".join(f"{'unbekannt' if i == 7 else f'{i},5'};{'jn'[i % 2]}\n" for i in range(60))
    columns = builtin(str(written(tmp_path, text)), "y", None).examples.columns
    assert columns is not None
    assert (columns.numbers, columns.notes) == (("a",), ("'a': 1 value such as 'unbekannt' taken as missing",))


@pytest.mark.parametrize("value", ["{},234", "{},5 kg", "v{},5"])
def test_commas_that_may_mean_something_else_stay_text(value: str, tmp_path: Path) -> None:
    text = "a;y\n" + "".join(f"{value.format(i % 5)};{i}\n" for i in range(60))
    assert read_table(written(tmp_path, text))["a"][1] == value.format(1)


def test_the_index_of_a_parquet_file_is_not_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(3.0), "y": [1, 2, 3]}, index=[7, 8, 9])
    frame.to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns) == ["a", "y"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", " \n\n", "is empty"),
        ("t.csv", "a,b,y\n", "no rows"),
        ("t.csv", "abc\n1\n2\n", "has 1 column"),
        ("t.csv", b"a,b\n\xff\xfe,1\n", "not text in UTF-8 .*: save it as UTF-8, such as by iconv"),
        ("t.csv", b"a,b\n1,\x002\n", "zero bytes"),
        ("t.csv", "a,b\n1,2\n1,2,3,4\n", "is not a table"),
        ("t.csv", "a,b\n1,2,3\n4,5,6\n", "rows have 3 fields and the first line names 2"),
        ("t.csv", "a,b,a,y\n1,2,3,4\n", "more than one column named 'a'"),
        ("t.csv", 'a,b\n"1,2\n', "is not a table"),
        ("t.parquet", "a,b\n1,2\n", "is no Parquet table"),
        ("t.parquet", b"PAR1" + bytes(40) + b"PAR1", "is no Parquet table"),
        ("t.pkl", pickle.dumps([1]), "ends in none of .csv, .tsv, .parquet"),
        ("table", "a,b\n1,2\n", "ends in none of"),
    ],
)
def test_what_is_not_a_table_is_refused(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_table(written(tmp_path, text, name))


def test_an_unreadable_file_is_an_error_of_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, HEADER + rows())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileAccessError, match="Permission denied"):
        read_table(path)


def test_nothing_is_fetched_or_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file 'https.*sets are digits"):
        builtin("https://example.invalid/t.csv", "y", None)
    with pytest.raises(UsageError, match="Did you mean 'digits'"):
        builtin("digist", None, None)
    with pytest.raises(UsageError, match="is a folder"):
        builtin(str(tmp_path), "y", None)


def test_names_from_a_file_reach_a_message_harmless(tmp_path: Path) -> None:
    path = written(tmp_path, "\x1b[31mred\x1b[0m,\u202eb,y\n" + rows())
    with pytest.raises(UsageError) as error:
        builtin(str(path), "z", None)
    assert "\x1b" not in str(error.value)
    assert "\u202e" not in str(error.value)
    assert "red" in str(error.value)


@pytest.mark.parametrize("shift", [1, 100, 250])
def test_damaged_parquet_never_escapes_as_another_error(tmp_path: Path, shift: int) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.arange(100.0), "b": list("xy") * 50}).to_parquet(path)
    good = bytearray(path.read_bytes())
    draw = np.random.default_rng(shift)
    for _ in range(25):
        bad = bytearray(good)
        for place in draw.integers(4, len(bad) - 4, 1 + shift // 50):
            bad[place] = draw.integers(256)
        path.write_bytes(bad[: len(bad) - int(draw.integers(2)) * shift])
        try:
            read_table(path)
        except (UsageError, FileAccessError):
            continue


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(s.to_bytes(4, "big") for s in values.shape)
    return gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def fashion(folder: Path, train: int = 200, test: int = 50) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for prefix, n in (("train", train), ("t10k", test)):
        images, classes = draw.integers(0, 256, (n, 4, 4)).astype(np.uint8), (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(classes))


def test_fashion_mnist_comes_from_a_folder_or_from_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    with pytest.raises(UsageError, match="apt-get install dataset-fashion-mnist"):
        builtin("fashion-mnist", None, None)
    place = tmp_path / "datasets" / "fashion-mnist"
    fashion(place)
    subject = builtin("fashion-mnist", None, None)
    assert subject.source == builtin(str(place), None, None).source
    first, second = subject.split(0, "full"), subject.split(1, "full")
    assert first.test.inputs.shape == (50, 1, 4, 4)
    assert np.array_equal(first.test.targets, second.test.targets)
    assert not np.array_equal(first.train.inputs, second.train.inputs)
    sampled = builtin("fashion-mnist", None, None, rows=150).split(0, "full")
    assert [len(p) for p in (sampled.train, sampled.validation, sampled.test)] == [93, 27, 30]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:60], lambda b: b"\x1f\x8b" + b[2:40], lambda b: gzip.compress(b"\0\0\7\1")]
)
def test_damaged_images_are_named(tmp_path: Path, damage: object) -> None:
    place = tmp_path / "set"
    fashion(place)
    path = place / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=r"t10k-images.*install the set again"):
        builtin(str(place), None, None)
