"""The parametrization W ↦ W/max(1, σ̂/c), or W·c/σ̂: its warm state, when that moves, and its gradient.

When the state moves. A mark of the weight (its product with one fixed vector) is kept. In training, reading the weight
makes `iterations` iterations if the mark has changed since the last ones, and none if not: so once after each step of
the optimizer, whoever reads first, and neither logging, nor a second forward, nor the second run of a checkpointed
segment moves anything. In evaluation a changed mark leads to convergence before anything is served. A weight that is
not finite changes no state.

Gradient. σ̂ = uᵀWv with u and v constant, whose gradient uvᵀ is that of σ₁ at convergence; differentiable again. What is
kept for the backward pass is the result, not W, so it may run after W was stepped.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from opnorm.constraint.normalization.iteration import advance, chirp, sharpen
from opnorm.constraint.normalization.operators import Operator, working

STATE = ("_u", "_v", "_block", "_mark", "_count")


class Home:
    """The list of parametrizations that a parametrization is in; copied with it, and forgotten when pickled."""

    def __init__(self, chain: torch.nn.Module | None = None) -> None:
        self._chain = None if chain is None else weakref.ref(chain)

    def weight(self) -> torch.Tensor | None:
        """The tensor that is parametrized, where it is known and has entries on one device."""
        chain = None if self._chain is None else self._chain()
        weight = getattr(chain, "original", None)
        return weight if isinstance(weight, torch.Tensor) and _readable(weight) else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Home:
        return Home(None if self._chain is None else memo.get(id(self._chain())))

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Home, ()


class SpectralScale(torch.nn.Module):
    """W ↦ W/max(1, σ̂/cap), or with `always` W·cap/σ̂; a weight of zeros stays zeros.

    kept: names of the buffers that go into the state dict. bare: while True, the weight itself is served.
    """

    _u: torch.Tensor
    _v: torch.Tensor
    _block: torch.Tensor
    _mark: torch.Tensor
    _count: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        operator: Operator,
        *,
        cap: float = 1.0,
        always: bool = False,
        rank: int = 4,
        iterations: int = 1,
        kept: tuple[str, ...] = STATE,
    ) -> None:
        super().__init__()
        self.operator, self.cap, self.always, self.iterations, self.kept = operator, cap, always, iterations, kept
        self.bare, self.home = False, Home()
        rows, columns = operator.shape(weight)
        rank = max(1, min(rank, rows, columns))
        sample = working(weight.detach())
        block = sample.new_zeros((rank, columns))
        block.fill_diagonal_(1.0)
        state = {
            "_u": sample.new_zeros(rows),
            "_v": block[0].clone(),
            "_block": block[1:],
            "_mark": sample.new_full((_mark_size(weight),), torch.nan),
            "_count": torch.zeros((), dtype=torch.int64, device=weight.device),
        }
        for name, value in state.items():
            self.register_buffer(name, value, persistent=name in kept)
        self.refresh(weight)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight that the module serves."""
        if self.bare:
            return weight
        whole = _whole(weight)
        with full_precision(whole.device):
            self._attend(whole)
            left, right = self._u.clone(), self._v.clone()  # a later forward moves the buffers in place
            value = self.operator.values(whole, left[None], right[None])[0] / self.cap
        divisor = torch.where(value > 0, value, torch.ones_like(value)) if self.always else value.clamp(min=1.0)
        return _Divide.apply(weight, _like(divisor, weight))

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """What is stored when a value is assigned: the value itself, which is then scaled as every weight is."""
        with torch.no_grad():
            known = _readable(value) and bool((_mark(_whole(value)) == self._mark).all())
        if not known:
            self.refresh(value)
        return value

    @torch.no_grad()
    def refresh(self, weight: torch.Tensor, *, always: bool = True) -> None:
        """Bring the state to convergence on `weight`; without `always` only if the state is far from it."""
        if not _readable(weight):
            return
        whole = _whole(weight)
        with full_precision(whole.device):
            prepared = self.operator.prepared(whole)
            values, left, right = sharpen(self.operator, prepared, self._started())
            if not bool(torch.isfinite(values).all()):
                return
            if always or float(self.operator.values(whole, self._u[None], self._v[None])[0]) < 0.9 * float(values[0]):
                self._commit(torch.tensor(True, device=whole.device), left[0], right, _mark(whole), 1)

    def train(self, mode: bool = True) -> SpectralScale:
        """Entering evaluation brings the state to convergence."""
        entering = self.training and not mode
        super().train(mode)
        weight = self.home.weight() if entering else None
        if weight is not None and not _sharded(weight):
            self.refresh(weight)
        elif entering:
            self.forget()
        return self

    @torch.no_grad()
    def forget(self) -> None:
        """Let the next reading in evaluation converge, whatever the weight."""
        self._mark.fill_(torch.nan)

    def extra_repr(self) -> str:
        """Such as 'cap=1.0, rank=4'."""
        return f"cap={self.cap:g}, {'always, ' if self.always else ''}rank={len(self._block) + 1}"

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> SpectralScale:
        """Move with the module; in a module of low precision the state stays as exact as it was."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, moved in self._buffers.items():
            if moved.dtype != working(moved).dtype:
                self._buffers[name] = before[name].to(moved.device)
        return self

    @torch.no_grad()
    def _attend(self, whole: torch.Tensor) -> None:
        """Move the state where the weight has changed since it last moved."""
        if _transformed(whole) or whole.is_meta:
            return
        mark = _mark(whole)
        changed = (mark != self._mark).any()
        if not self.training:
            if _may_wait(whole) and bool(changed):
                self.refresh(whole)
            return
        if _free_to_wait(whole) and not changed:
            return
        prepared = self.operator.prepared(whole)
        block, left = torch.cat([self._v[None], self._block]), self._u
        for i in range(self.iterations):
            noise = chirp(block.shape[1], self._count * self.iterations + i, block.device, block.dtype)
            lefts, _, block = advance(self.operator, prepared, block, noise)
            left = lefts[0]
        self._commit(changed, left, block, mark, 1)

    def _commit(
        self, changed: torch.Tensor, left: torch.Tensor, block: torch.Tensor, mark: torch.Tensor, steps: int
    ) -> None:
        """Take the new state in place, if the weight changed and all of it is finite."""
        finite = torch.isfinite(mark).all() & torch.isfinite(left.sum() + block.sum())
        news = (left, block[0], block[1:], mark, self._count + steps)
        if _free_to_wait(mark):
            if changed and finite:
                for name, new in zip(STATE, news, strict=True):
                    getattr(self, name).copy_(new)
            return
        for name, new in zip(STATE, news, strict=True):
            held = getattr(self, name)
            held.copy_(torch.where(changed & finite, new.to(held.dtype), held))

    def _started(self) -> torch.Tensor:
        """Where a refresh starts: the state, or new directions where it is none, as after `to_empty`."""
        block = torch.cat([self._v[None], self._block])
        fresh = torch.cat([chirp(block.shape[1], -1 - i, block.device, block.dtype) for i in range(len(block))])
        return torch.where(torch.isfinite(block).all() & (block.abs().amax() < 2), block, fresh)

    def _load_from_state_dict(self, state_dict: Mapping[str, torch.Tensor], prefix: str, *_: Any, **__: Any) -> None:
        """Take what fits. The state follows from the weight, so that none of it can be missing or be in the way."""
        self.loaded_whole = True
        for name in STATE:
            held, given = getattr(self, name), state_dict.get(prefix + name)
            fits = isinstance(given, torch.Tensor) and given.shape == held.shape and not held.is_meta
            if fits:
                with torch.no_grad():
                    held.copy_(given)
            self.loaded_whole = self.loaded_whole and fits

    loaded_whole = False


class _Divide(torch.autograd.Function):
    """W/d by a number d, in the precision of d, rounded to that of W; keeps the result and d, not W."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
        return (working(weight) / divisor).to(weight.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(output, inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output, divisor = ctx.saved_tensors
        share = working(gradient) / divisor
        of_divisor = -(share * working(output).conj()).sum().real if ctx.needs_input_grad[1] else None
        return share.to(gradient.dtype), of_divisor


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Without autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def _mark_size(weight: torch.Tensor) -> int:
    return weight.shape[0] if weight.ndim else 1


def _mark(weight: torch.Tensor) -> torch.Tensor:
    """One number for each first index, which changes when entries do."""
    flat = working(weight.detach()).reshape(_mark_size(weight), -1)
    places = torch.arange(flat.shape[1], device=flat.device, dtype=torch.float32)
    return torch.mv(flat, torch.cos(places * 1.7 + 0.3).to(flat.dtype))


def _readable(weight: torch.Tensor) -> bool:
    return not (weight.is_meta or _transformed(weight) or weight.numel() == 0 or torch.compiler.is_compiling())


def _may_wait(weight: torch.Tensor) -> bool:
    """Whether a number may be read from the device: not inside a graph."""
    if torch.compiler.is_compiling():
        return False
    return weight.device.type != "cuda" or not torch.cuda.is_current_stream_capturing()


def _free_to_wait(tensor: torch.Tensor) -> bool:
    """Whether reading a number costs nothing: on the host, outside of graphs."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _transformed(weight: torch.Tensor) -> bool:
    """Whether inside a transform of torch.func, where no state can be written."""
    return not torch.compiler.is_compiling() and bool(torch._C._functorch.is_functorch_wrapped_tensor(weight))


def _sharded(weight: torch.Tensor) -> bool:
    """Whether it is a DTensor, which only sharded models have."""
    return type(weight) not in (torch.Tensor, torch.nn.Parameter) and hasattr(weight, "full_tensor")


def _whole(weight: torch.Tensor) -> torch.Tensor:
    """All of a sharded weight: a collective call, which all processes must make."""
    return weight.full_tensor() if _sharded(weight) else weight


def _like(number: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The number beside a sharded weight: the same in each process."""
    if not _sharded(weight):
        return number
    from torch.distributed.tensor import DTensor, Replicate

    mesh = weight.device_mesh
    return DTensor.from_local(number, mesh, [Replicate()] * mesh.ndim, run_check=False)
