"""Where chains are worked on: this process, or workers of joblib's own, of Dask or of Ray, all through joblib.

A result depends on its chain alone, so that engine, number of workers and order change nothing. Workers that were
started here are stopped here; a Dask client or a Ray session that is there already is used and left as it is.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from opnorm.errors import MissingExtra, OpnormError, UsageError
from opnorm.experiment.document import Design
from opnorm.experiment.run.cells import Chain
from opnorm.experiment.run.worker import Done, Packed, Refused, finished, work
from opnorm.experiment.subject import Subject

RAY_MEMORY = 100 * 2**20
"""Bytes of Ray's object store: records are small, and the default is a third of the machine."""

IDLE = 20
"""Seconds after which a worker without work ends: also one whose trial was killed."""

AT_ONCE = 4
"""Chains a worker in one call, where an engine hands results over only when all are there."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers that are ready. streams: whether results can be had one by one."""

    workers: int
    streams: bool

    def results(self, subject: Subject, design: Design, chains: Sequence[Chain]) -> Generator[Done, None, None]:
        """Of all chains, in the order in which they are finished."""
        from joblib import Parallel, delayed

        one = partial(work, Packed.of(subject), design)
        for part in self._parts(chains):
            parallel = Parallel(batch_size=1, return_as="generator_unordered" if self.streams else "list")
            found = parallel(delayed(one)(chain) for chain in part)
            try:
                for several in found:
                    yield from map(_accepted, several)
            finally:
                if self.streams:
                    _close(found)

    def _parts(self, chains: Sequence[Chain]) -> Iterator[Sequence[Chain]]:
        step = max(1, len(chains) if self.streams else AT_ONCE * self.workers)
        return (chains[i : i + step] for i in range(0, len(chains), step))


@dataclass(frozen=True, slots=True)
class Alone:
    """This process."""

    workers: int = 1

    def results(self, subject: Subject, design: Design, chains: Sequence[Chain]) -> Generator[Done, None, None]:
        """Of all chains, cell by cell."""
        for chain in chains:
            yield from finished(subject, design, chain)


def _close(found: Generator[Any, None, None]) -> None:
    """joblib warns of tasks that are given up; here that is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found.close()


def _accepted(found: Done | Refused) -> Done:
    if isinstance(found, Refused):
        raise UsageError(found.message)
    return found


@contextmanager
def workers(engine: str, jobs: int) -> Iterator[Pool | Alone]:
    """`jobs` workers of `engine`, see `ENGINES`; with one job of joblib, this process."""
    require_engine(engine, jobs)
    if engine == "joblib" and jobs == 1:
        yield Alone()
        return
    try:
        with ENGINES[engine](jobs) as pool:
            yield pool
    except OpnormError:
        raise
    except _lost_worker() as error:
        raise UsageError(
            "a worker died, as it does when memory runs out; what is finished is kept in the journal: "
            "run the same command with fewer --jobs"
        ) from error


def _lost_worker() -> type[BaseException]:
    from joblib.externals.loky.process_executor import BrokenProcessPool

    found: type[BaseException] = BrokenProcessPool
    return found


@contextmanager
def _joblib(jobs: int) -> Iterator[Pool]:
    """Processes of this machine, each with one thread."""
    from joblib import parallel_config

    with parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1, idle_worker_timeout=IDLE):
        yield Pool(jobs, streams=True)


@contextmanager
def _dask(jobs: int) -> Iterator[Pool]:
    """The Dask client that is there, whatever it has; else `jobs` processes of this machine."""
    from distributed import Client, LocalCluster, get_client
    from joblib import effective_n_jobs, parallel_config

    client = None
    with suppress(ValueError):  # there is none
        client = get_client()
    if client is not None:
        with parallel_config(backend="dask", client=client):
            yield Pool(effective_n_jobs(-1), streams=True)
        return
    local = LocalCluster(n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None)
    with local, Client(local) as client, parallel_config(backend="dask", client=client):
        yield Pool(jobs, streams=True)


@contextmanager
def _ray(jobs: int) -> Iterator[Pool]:
    """The Ray session that is there; else one of this machine."""
    import ray
    from joblib import parallel_config
    from ray.util.joblib import register_ray

    there = ray.is_initialized()
    if not there:
        ray.init(
            num_cpus=jobs, include_dashboard=False, object_store_memory=RAY_MEMORY, log_to_driver=False,
            logging_level=logging.ERROR, configure_logging=False,
        )  # fmt: skip
    try:
        register_ray()
        count = max(1, int(ray.cluster_resources().get("CPU", jobs))) if there else jobs
        with parallel_config(backend="ray", n_jobs=count):
            yield Pool(count, streams=False)
    finally:
        if not there:
            ray.shutdown()


def require_engine(engine: str, jobs: int) -> None:
    """Raise `UsageError` or `MissingExtra`, before anything is done, for workers that cannot be had."""
    if engine not in ENGINES:
        raise UsageError(f"{engine!r} is not an engine; there are {', '.join(ENGINES)}")
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise UsageError(f"jobs {jobs!r}: give a whole number from 1, or none for all cores")
    if find_spec(NEEDED[engine]) is None:
        raise MissingExtra(engine if engine != "joblib" else "trial", f"--engine {engine}")


NEEDED: Mapping[str, str] = {"joblib": "joblib", "dask": "distributed", "ray": "ray"}
ENGINES: Mapping[str, Callable[[int], AbstractContextManager[Any]]] = {"joblib": _joblib, "dask": _dask, "ray": _ray}
