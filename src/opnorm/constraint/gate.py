"""The gate: after each optimizer step it moves the weights of its sites towards their bands; at the end it proves them.

Nothing of the model or the optimizer changes but the weights' values: parameters, names, `state_dict` and optimizer
state stay what they are. The hook runs after every real step of the optimizer, so a step that a GradScaler skips is
none, and accumulation and closures are as the optimizer counts them.

The way: rules → `selection` → sites → for each, when it is due (`cadence`): its kernel moves the weight
(`kernels`), the outcome joins its history (`history`) → `report`, `metrics` → `finalize`: the last exact projection,
the cast, the proof (`finishing`).
Guarantee: while training none, all figures are estimates; after `finalize` what the certificate says, PROVED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch

from opnorm.constraint.cadence import Clock
from opnorm.constraint.given import (
    excluded_given,
    optimizers_given,
    require_finish,
    require_model,
    require_numbers,
    require_present,
    require_state,
    rules_given,
)
from opnorm.constraint.held import Held
from opnorm.constraint.replicas import largest_of_all, unwrapped
from opnorm.constraint.rules import Rule
from opnorm.constraint.schedule import Warmup
from opnorm.constraint.selection import select
from opnorm.errors import UsageError

if TYPE_CHECKING:
    from opnorm.constraint.diagnosis.advice import GateReport
    from opnorm.constraint.finalize.certificate import Certificate

FORMAT = 1
"""Of `Gate.state_dict`."""


class Gate:
    """Made by `opnorm.control`, of an unwrapped model. steps: optimizer steps seen. held: the sites with their state.
    unheld: rows that a rule named and nothing holds, with the reason. clock: keeps the budget of time.
    """  # fmt: skip

    def __init__(
        self, model: torch.nn.Module, held: list[Held], unheld: tuple[tuple[str, str], ...], clock: Clock
    ) -> None:
        self.model, self.held, self.unheld, self.clock = model, held, unheld, clock
        self.steps = 0
        self._handles: dict[int, tuple[torch.optim.Optimizer, Any]] = {}
        self._links = _links(self.model, self.held)

    def attach(self, *optimizers: torch.optim.Optimizer) -> Self:
        """Act after every step of each of `optimizers`. Returns the gate.

        `UsageError` where an optimizer has a gate already, or moves none of the sites, and where the model has other
        parameters than when the gate was made.
        """
        plain = optimizers_given(optimizers)
        require_present(self.model, [h.site for h in self.held])
        for optimizer in plain:
            self._require_free(optimizer)
            self._handles[id(optimizer)] = optimizer, optimizer.register_step_post_hook(self._after)
        return self

    def detach(self) -> None:
        """Stop acting: the optimizers are as they were."""
        for _, handle in self._handles.values():
            handle.remove()
        self._handles.clear()

    def _require_free(self, optimizer: torch.optim.Optimizer) -> None:
        for hook in optimizer._optimizer_step_post_hooks.values():
            if isinstance(getattr(hook, "__self__", None), Gate):
                raise UsageError(
                    f"this {type(optimizer).__name__} has a gate already: give all rules to one opnorm.control, or "
                    "detach() the first gate"
                )
        owned = _owned([optimizer])
        if not any(_any_in(h, owned) for h in self.held):
            raise UsageError(
                f"this {type(optimizer).__name__} holds no parameter of the gate's {len(self.held)} sites, such as "
                f"{self.held[0].site.name}: attach the gate to the optimizer of this model, made after any sharding"
            )

    def _after(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if _was_skipped(optimizer):
            return
        attached = [o for o, _ in self._handles.values()]
        leads = optimizer is attached[0]
        others = [o for o in attached if o is not optimizer]
        strange = _owned(others) - _owned([optimizer]) if leads else None  # the first also takes what no optimizer has
        own = _owned([optimizer])
        sites = [h for h in self.held if _any_in(h, own) or (strange is not None and not _any_in(h, strange))]
        self._act(sites if others else self.held, counted=leads)

    @torch.no_grad()
    def step(self) -> None:
        """Act once on every site that is due, as after an optimizer's step; for loops without a torch optimizer."""
        self._act(self.held, counted=True)

    @torch._disable_dynamo  # an optimizer's step may be compiled; the hook after it runs as it is
    @torch.no_grad()
    def _act(self, sites: Sequence[Held], *, counted: bool) -> None:
        if any(place.get(name) is not value for place, name, value in self._links):
            require_present(self.model, [h.site for h in self.held])
        self._wait()
        began = self.clock.now()
        with torch.autocast(self.held[0].site.parameters[0].device.type, enabled=False):
            for held in sites:
                if held.due(self.steps, self.clock.stretch):
                    held.act(self.steps)
        self._wait()
        self.steps += counted
        self.clock.lap(began, self.clock.now())

    def _wait(self) -> None:
        """While an interval is being chosen, devices that run ahead are waited for."""
        if self.clock.timing and torch.cuda.is_available():
            torch.cuda.synchronize()

    def penalty(self) -> torch.Tensor:
        """What `penalize` adds to the loss now: a scalar, 0 where nothing is penalized. Add it before `backward`."""
        terms = [h.penalty(self.steps) for h in self.held if h.site.rule.technique == "penalty"]
        if not terms:
            return torch.zeros((), device=self.held[0].site.parameters[0].device)
        return torch.stack([t.to(terms[0].device) for t in terms]).sum()

    def finalize(
        self, dtype: torch.dtype | None = None, *, model: torch.nn.Module | None = None, width: float = 1e-3
    ) -> Certificate:
        """The last projection, exact; the cast of the model to `dtype`, where given; and the proof of what results.

        model: another one of the same names to finish and certify instead, such as a moving average. Raises
        `BoundMissed` where a bound cannot be proved, `UndefinedNorm` for weights that are not finite; the model is then
        as it was. Penalized and watched layers are measured, not moved. Cost: one decomposition a layer in float64.
        """
        from opnorm.constraint.finalize.sites import finish

        require_finish(dtype, model, width)
        return finish(self, dtype, self.model if model is None else unwrapped(model), width)

    def metrics(self) -> dict[str, float]:
        """Numbers for a tracker, by names such as `opnorm/<site>/sigma`; waits for the device."""
        from opnorm.constraint.diagnosis.history import metrics

        return metrics([h.history for h in self.held], self.clock)

    def report(self) -> GateReport:
        """What the gate did to each layer and what it cost, in words, with suggestions; `print` it."""
        from opnorm.constraint.diagnosis.advice import report

        return report(self)

    def loss_jump(self, closure: Callable[[], torch.Tensor]) -> float:
        """How much the loss changes by one move of every site now; closure: gives the loss, changing nothing."""
        with torch.no_grad():
            before = float(closure())
            for held in self.held:
                held.act(self.steps)
            return float(closure()) - before

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs to go on bit by bit; tensors and numbers only."""
        return {
            "format": FORMAT,
            "steps": self.steps,
            "clock": self.clock.state_dict(),
            "sites": {h.site.name: h.state_dict() for h in self.held},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave. `UsageError` for the state of a gate with other sites."""
        require_state(state, FORMAT)
        sites, own = state["sites"], {h.site.name: h for h in self.held}
        strange, lacking = sorted(set(sites) - set(own)), sorted(set(own) - set(sites))
        other = sorted(n for n in set(own) & set(sites) if not own[n].fits(sites[n]))
        if strange or lacking or other:
            raise UsageError(_another_gate(strange, lacking, other))
        self.steps = int(state["steps"])
        self.clock.load_state_dict(state["clock"])
        for name, held in own.items():
            held.load_state_dict(sites[name])

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy or a pickle, which is attached to nothing."""
        return {**self.__dict__, "_handles": {}}

    def __repr__(self) -> str:
        rules = {str(h.site.rule): 0 for h in self.held}
        return f"<Gate of {len(self.held)} sites after {self.steps} steps: {'; '.join(rules)}>"


def _links(model: torch.nn.Module, held: Sequence[Held]) -> list[tuple[dict[str, Any], str, Any]]:
    """From the model down to each site's parameters: (dictionary, key, value) that hold while nothing is exchanged.

    To look at all of them at each step costs less than a microsecond each.
    """
    links: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
    for site in (h.site for h in held):
        for tensor, parameter in zip(site.tensors, site.parameters, strict=True):
            *path, leaf = tensor.split(".")
            module = model
            for name in path:
                child = module._modules[name]
                links[id(module), name] = module._modules, name, child
                assert child is not None
                module = child
            links[id(module), leaf] = module._parameters, leaf, parameter
    return list(links.values())


def _owned(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    return {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}


def _any_in(held: Held, owned: set[int]) -> bool:
    return any(id(p) in owned for p in held.site.parameters)


def _was_skipped(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a GradScaler told a fused optimizer to leave this step out; that one is called all the same."""
    found = getattr(optimizer, "found_inf", None)
    return isinstance(found, torch.Tensor) and bool(found)


def _another_gate(strange: list[str], lacking: list[str], other: list[str]) -> str:
    parts = (
        ("sites that this gate lacks", strange), ("no state for", lacking), ("other shapes or techniques of", other),
    )  # fmt: skip
    said = [f"{words}: {', '.join(names[:6])}" + (" …" if len(names) > 6 else "") for words, names in parts if names]
    return f"this is the state of another gate: it has {'; '.join(said)}. Make the gate with the rules of that run."


def control(
    model: torch.nn.Module,
    rules: Rule | Sequence[Rule],
    *,
    exclude: str | type | Sequence[str | type] = (),
    input_shape: Any = None,
    warmup: Warmup | None = None,
    every: int = 1,
    budget: float | None = None,
    seed: int = 0,
) -> Gate:
    """A gate that holds the layers of `model` as `rules` say, while it is trained; see `Gate`.

    rules: made by `cap`, `band`, `orthogonalize`, `penalize`, `watch`. exclude: patterns or types that no rule holds.
    input_shape: of the model's input without batch, such as (3, 32, 32); convolutions are then held at their own sizes,
    else for any size. warmup: see `anneal`. every: optimizer steps between moves of a site, where its rule says
    nothing. budget: the largest share of a step's time that moves may take, such as 0.08; the gate then times the first
    steps and lengthens all intervals to fit. seed: of the warm start vectors; the global random state is never used.

    The model may be wrapped in DDP or compiled; shard it (FSDP2) before. Raises `UsageError` for rules that name
    nothing, overlap or cannot be meant, `UnsupportedInput` for layers whose operator is not known; all name the layers.
    """
    require_model(model)
    chosen, left_out = rules_given(rules), excluded_given(exclude)
    require_numbers(every, budget, seed, warmup)
    plain = unwrapped(model)
    found = select(plain, chosen, left_out, input_shape)
    held = [Held(site, i, every, warmup, seed) for i, site in enumerate(found.sites)]
    return Gate(plain, held, found.unheld, Clock(budget, largest_of_all))
