"""DDP and FSDP2 in two processes: replicas stay equal bit by bit, and sharded training is that of one process."""

import copy
import time

import pytest
import torch
import torch.distributed as dist
from adapters import Linear as Adapted
from together import together
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from opnorm.constraint.gate import control
from opnorm.constraint.rules import band, cap, orthogonalize, penalize, watch
from opnorm.constraint.schedule import anneal
from opnorm.constraint.sharded import store

CAP = 0.7


class Net(nn.Module):
    """A convolution, a fused matrix, and matrices whose rows do not divide among two."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 5, 3, padding=1)
        self.qkv = nn.Linear(40, 66)
        self.mid = nn.Linear(66, 53)
        self.odd = nn.Linear(53, 53, bias=False)
        self.large = nn.Linear(53, 51)
        self.last = nn.Linear(51, 4)

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(1)
        for layer in (self.qkv, self.mid, self.odd, self.large):
            x = torch.tanh(layer(x))
        return self.last(x)


def net():
    torch.manual_seed(0)
    return Net()


def rules():
    return [
        cap("conv", 1.0), cap("qkv", CAP, split=3), band("mid", 0.2, CAP, every=2), orthogonalize("odd", 0.8),
        cap("large", CAP), penalize("last", above=0.1, weight=0.1),
    ]  # fmt: skip


def data(step, rank=0):
    generator = torch.Generator().manual_seed(100 * rank + step)
    return torch.randn(16, 3, 8, generator=generator), torch.randn(16, 4, generator=generator)


def train(model, optimizer, gate, steps, *, rank=0, start=0):
    for step in range(start, start + steps):
        kind = next(model.parameters()).dtype
        inputs, targets = (t.to(kind) for t in data(step, rank))
        optimizer.zero_grad()
        (nn.functional.mse_loss(model(inputs), 10 * targets) + gate.penalty()).backward()
        optimizer.step()


def entries(model):
    return {
        n: p.detach().full_tensor() if hasattr(p, "full_tensor") else p.detach() for n, p in model.named_parameters()
    }


def assert_equal(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **tolerance)


BITS = {"rtol": 0, "atol": 0}


def everything(rank):
    """All of the runs, in one pair of processes, which take seconds to begin."""
    return {"replicas": replicas(rank), "sharded": sharded(False), "hybrid": sharded(True), "adapted": adapted()}


@pytest.fixture(scope="module")
def found():
    return together(everything)


def replicas(rank):
    model = DistributedDataParallel(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    gate = control(model, rules(), warmup=anneal(10), budget=0.05).attach(optimizer)
    if rank:
        slow = gate.held[0].act
        gate.held[0].act = lambda step: (time.sleep(0.002), slow(step))
    train(model, optimizer, gate, 50, rank=rank)
    sums = {"settled": float(gate.clock.settled), "stretch": float(gate.clock.stretch)}
    return entries(model.module), sums


def test_replicas_stay_equal_bit_by_bit_and_agree_on_the_budget(found):
    (one, clock), (other, theirs) = (rank["replicas"] for rank in found)
    assert_equal(one, other, **BITS)
    assert clock == theirs
    assert clock["settled"]
    assert clock["stretch"] > 1


def whole():
    """The same training in one process; in float64, as Adam makes much of what rounding leaves of a small gradient."""
    model = net().double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    gate = control(model, rules(), warmup=anneal(4)).attach(optimizer)
    train(model, optimizer, gate, 12)
    return model, gate


def sharded(hybrid):
    mesh = dist.init_device_mesh("cpu", (2, 1) if hybrid else (2,), mesh_dim_names=("a", "b") if hybrid else ("a",))

    def start():
        model = net().double()
        for layer in (model.conv, model.mid):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return model, optimizer, control(model, rules(), warmup=anneal(4)).attach(optimizer)

    model, optimizer, gate = start()
    names = [h.site.name for h in gate.held]
    train(model, optimizer, gate, 5)
    saved = {n: t.clone() for n, t in entries(model).items()}, copy.deepcopy(optimizer.state_dict()), gate.state_dict()
    train(model, optimizer, gate, 7, start=5)
    again, other, resumed = start()
    for name, parameter in again.named_parameters():
        store(parameter, saved[0][name])
    other.load_state_dict(saved[1])
    resumed.load_state_dict(saved[2])
    train(again, other, resumed, 7, start=5)
    assert_equal(entries(model), entries(again), **BITS)
    trained = {n: t.clone() for n, t in entries(model).items()}
    certificate = gate.finalize()
    proved = {row.name: [row.smallest or 0.0, row.upper] for row in certificate.rows}
    final = {n: t.clone() for n, t in entries(model).items()}
    cast = gate.finalize(dtype=torch.bfloat16)
    assert all(p.dtype is torch.bfloat16 for p in model.parameters())
    assert cast.holds
    return trained, final, proved, {"names": names, "holds": certificate.holds}


@pytest.mark.parametrize("hybrid", [False, True])
def test_sharded_training_is_that_of_one_process(found, hybrid):
    mine, theirs = (rank["hybrid" if hybrid else "sharded"] for rank in found)
    one, final, proved, said = mine
    other, their_final, their_proved, _ = theirs
    model, gate = whole()
    assert said["names"] == [h.site.name for h in gate.held]
    assert_equal(one, other, **BITS)
    assert_equal(one, entries(model), rtol=1e-6, atol=1e-8)
    assert_equal(final, their_final, **BITS)
    assert proved == their_proved
    assert said["holds"]
    for number in range(3):
        part = final["qkv.weight"][22 * number : 22 * number + 22].double()
        assert torch.linalg.matrix_norm(part, 2) <= proved[f"qkv.weight[{number}]"][1] <= CAP
    values = torch.linalg.svdvals(final["mid.weight"].double())
    low, high = proved["mid.weight"]
    assert 0.2 * (1 - 1e-6) <= low <= values.min()
    assert values.max() <= high <= CAP * (1 + 1e-6)


def adapted():
    runs = []
    for shard in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(Adapted(nn.Linear(10, 15), 3, 6), nn.Tanh(), Adapted(nn.Linear(15, 4), 2, 4))
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 if p.requires_grad or p.dim() == 1 else 0.5 / torch.linalg.matrix_norm(p, 2))
        if shard:
            fully_shard(model)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        control(model, [cap(["0", "2"], CAP, every=2), watch("*")]).attach(optimizer)
        generator = torch.Generator().manual_seed(1)
        for _ in range(20):
            optimizer.zero_grad()
            target = 10 * torch.randn(16, 4, generator=generator)
            nn.functional.mse_loss(model(torch.randn(16, 10, generator=generator)), target).backward()
            optimizer.step()
        runs.append(entries(model))
    return runs


def test_sharded_adapters(found):
    (plain, one), (_, other) = (rank["adapted"] for rank in found)
    assert_equal(one, other, **BITS)
    assert_equal(one, plain, rtol=1e-3, atol=1e-4)
    b, a = one["0.lora_B.default.weight"], one["0.lora_A.default.weight"]
    assert torch.linalg.matrix_norm(one["0.base_layer.weight"] + 2 * b @ a, 2) <= 1.1 * CAP
