"""Numbers in trackers, against stand-ins of their modules."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from opnorm.errors import MissingExtra, UsageError
from opnorm.integrations import trackers

METRICS = {"opnorm/q[W + s·B·A]/sigma": 1.5, "opnorm/seconds": 2.0}


class Recorder(ModuleType):
    """A tracker's module that remembers what it was told."""

    def __init__(self):
        super().__init__("recorder")
        self.told, self.run = [], self

    def log(self, metrics, step):
        self.told.append((metrics, step))

    def log_metrics(self, metrics, step, run_id=None):
        self.told.append((metrics, step, run_id))

    def add_scalar(self, name, value, step):
        self.told.append((name, value, step))


def test_tensorboard():
    writer = Recorder()
    trackers.log_tensorboard(METRICS, 3, writer)
    assert writer.told == [(name, value, 3) for name, value in METRICS.items()]


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_the_open_run_or_the_one_given(monkeypatch, tracker):
    module, run = Recorder(), Recorder()
    monkeypatch.setitem(sys.modules, tracker, module)
    function = getattr(trackers, f"log_{tracker}")
    function(METRICS, 3)
    function(METRICS, 4, run)
    assert module.told == [(METRICS, 3)]
    assert run.told == [(METRICS, 4)]


def test_wandb_without_a_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))
    with pytest.raises(UsageError, match=r"call wandb\.init\(\) first"):
        trackers.log_wandb(METRICS, 3)


def test_mlflow_gets_names_that_it_takes(monkeypatch):
    module = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", module)
    trackers.log_mlflow(METRICS, 3, run_id="r")
    assert module.told == [({"opnorm/q_W _ s_B_A_/sigma": 1.5, "opnorm/seconds": 2.0}, 3, "r")]


@pytest.mark.parametrize("tracker", ["wandb", "trackio", "mlflow"])
def test_a_tracker_that_is_not_installed(monkeypatch, tracker):
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(MissingExtra, match=rf"log_{tracker} needs .*opnorm\[{tracker}\]"):
        getattr(trackers, f"log_{tracker}")(METRICS, 3)
