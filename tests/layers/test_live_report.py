"""How rows of live models are told in the table and the sentences after it."""

import io
import math

import pytest
import torch
from rich.console import Console
from torch import nn

from live import report_of, rows_of
from opnorm.report.text import number, show


@pytest.mark.parametrize(("value", "down", "text"), [(0.999995, True, "0.99999"), (0.99999, True, "0.99999")])
def test_a_bound_just_below_a_power_of_ten_keeps_its_digits(value, down, text):
    assert number(value, down=down) == text


@pytest.mark.parametrize("value", [1 / math.sqrt(1 + 1e-5), math.nextafter(1, 0), math.nextafter(100, 0), 9.99995e-9])
def test_what_is_printed_is_a_bound_to_five_digits(value):
    least, most = float(number(value, down=True)), float(number(value, down=False))
    assert value * (1 - 1e-4) <= least <= value <= most <= value * (1 + 1e-4)
    assert (value - least) / value < 1.1e-5


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Linear(3, 2), ("1 weight measured", "1 tensor is no linear map (1 bias)")),
        (nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), ("2 weights measured", "2 tensors are no linear maps")),
        (nn.MultiheadAttention(4, 1), ("4 weights and 2 operators made of them", "more rows are not shown")),
    ],
)
def test_counts_are_told_in_words_that_fit(model, words):
    torch.manual_seed(0)
    console = Console(file=io.StringIO(), width=100)
    show(report_of(model), console, top=2)
    said = console.file.getvalue()
    assert all(word in said for word in words)
    assert "1 weights" not in said


def test_circuits_between_inputs_of_several_sizes_have_a_shape():
    rows = rows_of(nn.MultiheadAttention(8, 2, kdim=4, vdim=6))
    assert rows["[qk head 0]"].shape == (8, 4)
    assert rows["[ov head 1]"].shape == (8, 6)
