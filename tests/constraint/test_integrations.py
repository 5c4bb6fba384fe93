"""Callbacks, against stand-ins that call them in the order in which the libraries do."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from opnorm.constraint.finalize.certificate import Certificate
from opnorm.constraint.rules import cap, penalize
from opnorm.constraint.schedule import anneal
from opnorm.errors import MissingExtra, UsageError
from opnorm.integrations.mount import innermost

CAP = 0.7


def mlp():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 4))


def loss_of(model, step):
    generator = torch.Generator().manual_seed(step)
    inputs, targets = torch.randn(16, 12, generator=generator), 20 * torch.randn(16, 4, generator=generator)
    return nn.functional.mse_loss(model(inputs), targets)


def rules():
    return [cap("0", CAP, every=3), penalize("2", above=0.1, weight=0.1), cap("4", CAP)]


def by_hand(steps):
    """The same training with the penalty in the loss."""
    from opnorm.constraint.gate import control

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    gate = control(model, rules(), warmup=anneal(6)).attach(optimizer)
    for step in range(steps):
        optimizer.zero_grad()
        (loss_of(model, step) + gate.penalty()).backward()
        optimizer.step()
    return model


def same(one, other):
    return all(
        torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )


def identical(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def loaded(monkeypatch, ours, **modules):
    """Our module, imported beside these stand-ins (None: not installed)."""
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
    monkeypatch.delitem(sys.modules, f"opnorm.integrations.{ours}", raising=False)
    module = importlib.import_module(f"opnorm.integrations.{ours}")
    monkeypatch.delitem(sys.modules, f"opnorm.integrations.{ours}")
    return module


class Wrapped(torch.optim.Optimizer):
    """As accelerate's: an optimizer itself, which hands its steps on."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.step()


class HuggingFace:
    """`Trainer`'s order of calls, for one callback."""

    def __init__(self, folder, callback, model, **arguments):
        self.args = SimpleNamespace(output_dir=str(folder), fp16=False, max_grad_norm=1.0, resume_from_checkpoint=None)
        vars(self.args).update(arguments)
        self.state = SimpleNamespace(global_step=0, log_history=[], is_world_process_zero=True)
        self.callback, self.model = callback, model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        self.folder = folder

    def tell(self, event):
        given = {"model": self.model, "optimizer": Wrapped(self.optimizer), "processing_class": None}
        getattr(self.callback, event)(self.args, self.state, None, **given)

    def train(self, steps, resume=None):
        if resume:
            saved = torch.load(self.folder / f"checkpoint-{resume}" / "all.pt", weights_only=True)
            self.model.load_state_dict(saved[0])
            self.optimizer.load_state_dict(saved[1])
            self.state.global_step = resume
        self.tell("on_train_begin")
        while self.state.global_step < steps:
            self.optimizer.zero_grad()
            loss_of(self.model, self.state.global_step).backward()
            self.tell("on_pre_optimizer_step")
            Wrapped(self.optimizer).step()
            self.tell("on_optimizer_step")
            self.state.global_step += 1
            if self.state.global_step % 5 == 0:
                self.state.log_history.append({"loss": 0.0})
                self.tell("on_log")
                self.save()
        self.tell("on_train_end")

    def save(self):
        folder = self.folder / f"checkpoint-{self.state.global_step}"
        folder.mkdir(exist_ok=True)
        torch.save((self.model.state_dict(), self.optimizer.state_dict()), folder / "all.pt")
        self.tell("on_save")


class Callback:
    """Both libraries' base class answers every event."""

    def __getattr__(self, name):
        if name.startswith("on_"):
            return lambda *args, **given: None
        raise AttributeError(name)


@pytest.fixture
def hugging_face(monkeypatch):
    return loaded(monkeypatch, "transformers", transformers=SimpleNamespace(TrainerCallback=Callback))


def test_hugging_face(hugging_face, tmp_path):
    seen = []
    callback = hugging_face.GateCallback(
        rules(), warmup=anneal(6), finalize=True, certificate=tmp_path / "c.json",
        log=lambda metrics, step: seen.append((step, metrics["opnorm/0.weight/sigma"])),
    )  # fmt: skip
    trainer = HuggingFace(tmp_path, callback, mlp())
    trainer.train(10)
    assert callback.gate.steps == 10
    assert [step for step, _ in seen] == [5, 10]
    assert trainer.state.log_history[-1]["opnorm/4.weight/sigma"] == pytest.approx(CAP, rel=0.3)
    assert callback.proved.holds
    assert Certificate.load(tmp_path / "c.json").verify(trainer.model)
    assert not trainer.optimizer._optimizer_step_post_hooks  # let go of


def test_hugging_face_is_training_by_hand_and_resumes_exactly(hugging_face, tmp_path):
    def start():
        callback = hugging_face.GateCallback(rules(), warmup=anneal(6))
        return HuggingFace(tmp_path, callback, mlp())

    whole = start()
    whole.train(10)
    assert same(whole.model, by_hand(10))
    resumed = start()
    resumed.train(10, resume=5)
    assert resumed.callback.gate.steps == 10
    assert identical(whole.model, resumed.model)


def test_hugging_face_without_a_state_to_resume_from(hugging_face, tmp_path):
    HuggingFace(tmp_path, Callback(), mlp()).train(5)
    with pytest.raises(UsageError, match=r"resumes at step 5 .*opnorm_gate\.pt is not there.*resume=False"):
        HuggingFace(tmp_path, hugging_face.GateCallback(rules()), mlp()).train(6, resume=5)
    anew = hugging_face.GateCallback(rules(), resume=False)
    HuggingFace(tmp_path, anew, mlp()).train(8, resume=5)
    assert anew.gate.steps == 3


def test_a_penalty_meets_no_scaled_gradients(hugging_face, tmp_path):
    callback = hugging_face.GateCallback(rules())
    with pytest.raises(UsageError, match="still scaled: set max_grad_norm"):
        HuggingFace(tmp_path, callback, mlp(), fp16=True, max_grad_norm=0.0).train(1)
    HuggingFace(tmp_path, hugging_face.GateCallback(cap("0", CAP)), mlp(), fp16=True, max_grad_norm=0.0).train(1)


def test_a_callback_trains_twice(hugging_face, tmp_path):
    callback = hugging_face.GateCallback(cap("*", CAP))
    trainer = HuggingFace(tmp_path, callback, mlp())
    trainer.train(2)
    trainer.state.global_step = 0
    trainer.train(3)
    assert callback.gate.steps == 3


class Lightning:
    """Lightning's order of calls, for one callback."""

    log_every_n_steps, is_global_zero = 4, True

    def __init__(self, callback, model):
        self.callback, self.model, self.global_step, self.logged = callback, model, 0, []
        self.optimizers = [torch.optim.Adam(model.parameters(), lr=3e-3)]
        self.loggers = [SimpleNamespace(log_metrics=lambda metrics, step: self.logged.append((step, metrics)))]

    def fit(self, steps, checkpoint=None):
        if checkpoint:
            self.model.load_state_dict(checkpoint["model"])
            self.callback.load_state_dict(checkpoint["callback"])
            self.optimizers[0].load_state_dict(checkpoint["optimizer"])
            self.global_step = checkpoint["step"]
        self.callback.on_train_start(self, self.model)
        while self.global_step < steps:
            (optimizer,) = self.optimizers
            optimizer.zero_grad()
            loss_of(self.model, self.global_step).backward()
            self.callback.on_before_optimizer_step(self, self.model, optimizer)
            optimizer.step()
            self.global_step += 1
            self.callback.on_train_batch_end(self, self.model, None, None, 0)
            self.callback.on_train_batch_end(self, self.model, None, None, 0)  # as under accumulation
        self.callback.on_train_end(self, self.model)

    def checkpoint(self):
        return {
            "model": self.model.state_dict(), "callback": self.callback.state_dict(), "step": self.global_step,
            "optimizer": self.optimizers[0].state_dict(),
        }  # fmt: skip


PACKAGES = [("lightning__pytorch", "pytorch_lightning"), ("pytorch_lightning", "lightning__pytorch")]


@pytest.mark.parametrize(("there", "absent"), PACKAGES)
def test_lightning(monkeypatch, tmp_path, there, absent):
    module = loaded(monkeypatch, "lightning", **{there: SimpleNamespace(Callback=Callback), absent: None})

    def start(**options):
        return Lightning(module.GateCallback(rules(), warmup=anneal(6), **options), mlp())

    whole, part, resumed = start(), start(), start(finalize=True, certificate=tmp_path / "c.json")
    whole.fit(10)
    assert same(whole.model, by_hand(10))
    assert [step for step, _ in whole.logged] == [4, 8]
    part.fit(5)
    torch.save(part.checkpoint(), tmp_path / "p")
    checkpoint = torch.load(tmp_path / "p", weights_only=True)
    resumed.fit(10, checkpoint)
    assert resumed.callback.gate.steps == 10
    assert torch.equal(whole.model[2].weight, resumed.model[2].weight)
    assert resumed.callback.proved.holds
    assert Certificate.load(tmp_path / "c.json").verify(resumed.model)
    assert torch.linalg.matrix_norm(resumed.model[0].weight.double(), 2) <= CAP


def test_an_unused_state_goes_on_to_the_next_checkpoint(monkeypatch):
    module = loaded(monkeypatch, "lightning", lightning__pytorch=SimpleNamespace(Callback=Callback))
    callback = module.GateCallback(cap("*", CAP))
    assert callback.state_dict() == {}
    callback.load_state_dict({"steps": 3})
    assert callback.state_dict() == {"steps": 3}


@pytest.mark.parametrize(
    ("ours", "absent"), [("transformers", ["transformers"]), ("lightning", ["lightning__pytorch", "pytorch_lightning"])]
)
def test_what_is_missing_is_named_with_what_installs_it(monkeypatch, ours, absent):
    with pytest.raises(MissingExtra, match=rf'GateCallback needs .*pip install "opnorm\[{ours}\]"'):
        loaded(monkeypatch, ours, **dict.fromkeys(absent))


def test_what_wraps_no_optimizer_is_refused():
    optimizer = torch.optim.SGD(mlp().parameters(), lr=0.1)
    assert innermost(Wrapped(Wrapped(optimizer))) is optimizer
    with pytest.raises(UsageError, match="SimpleNamespace wraps no torch optimizer"):
        innermost(SimpleNamespace(optimizer=None))
