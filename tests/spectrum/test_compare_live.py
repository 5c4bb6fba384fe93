"""Two live models beside one another."""

import copy

import pytest

import opnorm


def test_equal_layers_of_live_models_are_equal_and_not_measured():
    """A batch norm too, whose operator is formed with rounding errors: ΔW ≤ 2e-15 is no change."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(6, 5)).eval()
    tuned = copy.deepcopy(model).eval()
    tuned[2].weight.data += 0.1
    report = opnorm.compare(model, tuned)
    assert [(c.name, c.status) for c in report.comparison.changes] == [
        ("0.weight", "equal"), ("1.weight", "equal"), ("2.weight", "changed")
    ]  # fmt: skip
    assert report.comparison.changes[0].base is None
    assert not any("the same file" in note for note in report.comparison.notes)
    assert "3 layers compared: 2 equal, 1 changed" in str(report)
    tuned[0].weight.data[0] = model[0].weight.data[0] = float("nan")
    assert opnorm.compare(model, tuned).comparison.changes[0].status == "undefined"
