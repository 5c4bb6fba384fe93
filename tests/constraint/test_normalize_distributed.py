"""Normalized layers under DDP and FSDP2: two processes, gloo, on the host."""

import socket

import pytest
import torch
import torch.distributed as dist

from opnorm.constraint.normalize import normalize
from opnorm.parametrize import spectral_norm

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")


def _train(rank: int, kind: str, port: int) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first, last = spectral_norm(torch.nn.Linear(20, 32)), normalize(torch.nn.Linear(32, 6), cap=0.5)
    model: torch.nn.Module = torch.nn.Sequential(first, torch.nn.Tanh(), last)
    run = _sharded(model, first, last) if kind == "fsdp" else torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(run.parameters(), lr=0.5)
    data = torch.Generator().manual_seed(rank)
    for _ in range(4):
        optimizer.zero_grad()
        inputs = torch.randn(8, 20, generator=data)
        (run(inputs).square().mean() - run(inputs + 1).mean()).backward()  # two forwards, one backward
        optimizer.step()
    state = torch.cat([buffer.float().flatten() for buffer in model.buffers()])
    states = [torch.zeros_like(state) for _ in range(2)]
    dist.all_gather(states, state)
    assert torch.equal(*states)
    model.eval()
    run(torch.ones(1, 20))
    for module, cap in ((first, 1.0), (last, 0.5)):
        served = module.weight  # outside of a forward: torch's own raises here under FSDP2
        whole = served.full_tensor() if hasattr(served, "full_tensor") else served
        assert abs(torch.linalg.matrix_norm(whole.detach(), 2).item() / cap - 1) < 1e-5
    dist.destroy_process_group()


def _sharded(model: torch.nn.Module, *parts: torch.nn.Module) -> torch.nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for part in (*parts, model):
        fully_shard(part, mesh=mesh)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_serve_the_same_weights(kind):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_train, (kind, port), nprocs=2)
