"""Names of features from sequences and files."""

import pytest

from opnorm.errors import CheckpointError, UsageError
from opnorm.spectrum.directions.features import MAX_BYTES, read_features


def test_sequences():
    assert read_features(["age", "income"]) == ("age", "income")
    assert read_features(iter((1, "b"))) == ("1", "b")
    with pytest.raises(UsageError, match="0 feature names"):
        read_features([])


def test_lines(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffage\r\nincome \r\nköln\r\n\n".encode())
    assert read_features(path) == ("age", "income", "köln")
    assert read_features(str(path)) == ("age", "income", "köln")
    path.write_text("")
    with pytest.raises(UsageError):
        read_features(path)


@pytest.mark.parametrize(
    ("ending", "text"),
    [("csv", 'a,"b, c",d\n1,2,3\n'), ("csv", 'a;"b, c";d\n1;2;3\n'), ("tsv", '"a"\tb, c\td'), ("CSV", 'a,"b, c",d')],
)
def test_headers(tmp_path, ending, text):
    path = tmp_path / f"table.{ending}"
    path.write_text(text)
    assert read_features(path) == ("a", "b, c", "d")


def test_a_large_table_is_read_no_further_than_its_header(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.write(b"x,y\n")
        file.truncate(10 * MAX_BYTES)
    assert read_features(path) == ("x", "y")


def test_files_that_are_none(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xff\xfea\x00")
    with pytest.raises(CheckpointError, match="UTF-8"):
        read_features(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CheckpointError, match="bytes"):
        read_features(path)
    with pytest.raises(UsageError, match="no such file"):
        read_features(tmp_path / "absent.txt")
    table = tmp_path / "field.csv"
    table.write_text("x" * 200_000)
    with pytest.raises(CheckpointError, match="no header"):
        read_features(table)
