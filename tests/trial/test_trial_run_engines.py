"""The same numbers, seed for seed, whatever does the work; workers that were started are stopped."""

import dataclasses

import pytest
import torch
from trial_run_fakes import build_model, load_data, small_declared, small_subject, small_trial

from opnorm.errors import UsageError
from opnorm.experiment.user import from_callables
from opnorm.report.trial import verdict_json

FEW = {"arms": ("none", "cap"), "seeds": 8, "conditions": ("full",), "claims": ("generalization",)}


def _timeless(report):
    return [dataclasses.replace(record, seconds=0.0) for record in report.records]


@pytest.fixture(scope="module")
def subject():
    return small_subject()


@pytest.fixture(scope="module")
def alone(subject):
    return small_trial(subject, small_declared(subject, **FEW), control=False)


def _same(subject, alone, **running):
    report = small_trial(subject, small_declared(subject, **FEW), control=False, **running)
    assert _timeless(report) == _timeless(alone)
    assert verdict_json(report) == verdict_json(alone)


def test_nothing_global_is_left_changed(subject):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    small_trial(subject, small_declared(subject, **FEW), control=False)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_two_workers_give_what_one_process_gives(subject, alone):
    _same(subject, alone, jobs=2)


def _breaking():
    """A subject that breaks only inside a worker: its functions fail for one seed."""

    def build(seed):
        if seed == 5:
            raise RuntimeError("out of luck")
        return build_model(seed)

    return from_callables(build, load_data)


def test_what_a_worker_refuses_is_one_message():
    broken = _breaking()
    with pytest.raises(UsageError, match=r"build_model\(5\) of the functions given raised RuntimeError: out of luck"):
        small_trial(broken, small_declared(broken, **FEW), jobs=2)


@pytest.mark.parametrize(
    ("engine", "jobs", "words"), [("spark", 1, "joblib, dask, ray"), ("joblib", 0, "whole number from 1")]
)
def test_engines_that_are_none(subject, engine, jobs, words):
    with pytest.raises(UsageError, match=words):
        small_trial(subject, small_declared(subject, **FEW), engine=engine, jobs=jobs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dask_gives_the_same(subject, alone):
    from distributed import Client, LocalCluster, get_client

    _same(subject, alone, engine="dask", jobs=2)
    with pytest.raises(ValueError, match=r"[Nn]o"):
        get_client()
    local = LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None)
    with local, Client(local) as client:
        _same(subject, alone, engine="dask", jobs=2)
        broken = _breaking()
        with pytest.raises(UsageError, match="out of luck"):
            small_trial(broken, small_declared(broken, **FEW), engine="dask")
        assert client.submit(sum, (1, 2)).result() == 3  # a client that was there is left running


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same(subject, alone):
    import ray

    _same(subject, alone, engine="ray", jobs=2)
    assert not ray.is_initialized()
