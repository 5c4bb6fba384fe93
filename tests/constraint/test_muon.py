"""Norms that optimizers keep: the size of their updates, the theorem, and torch's own optimizers against both."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import opnorm
from opnorm.bound import Evidence
from opnorm.constraint.decay.invariant import decay_for, norm_invariant
from opnorm.constraint.decay.updates import BFLOAT16_ALLOWANCE, adam_ratio, largest_output

KELLER = (3.4445, -4.775, 2.0315)
Muon = torch.optim.Muon


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def norm(weight):
    return float(torch.linalg.matrix_norm(weight.detach().double(), 2))


def gaussian(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_spectrum(sigma, rows, columns, seed=0):
    u = torch.linalg.qr(gaussian(rows, len(sigma), seed=seed))[0]
    v = torch.linalg.qr(gaussian(columns, len(sigma), seed=seed + 1))[0]
    return (u * torch.as_tensor(sigma)) @ v.T


def parameter(values):
    return torch.nn.Parameter(torch.as_tensor(values).clone())


class SignDescent(torch.optim.Optimizer):
    """Lion without momentum: decoupled decay, entries of ±1."""

    def __init__(self, params, lr, weight_decay):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(p.grad.sign(), alpha=group["lr"])


# The Newton-Schulz polynomial


def followed(coefficients, steps, points=400_001):
    a, b, c = coefficients
    s = np.concatenate([np.linspace(0, 1, points), np.geomspace(1e-8, 1, points)])
    for _ in range(steps):
        s = np.clip(s * (a + s * s * (b + c * s * s)), -1e9, 1e9)
    return float(np.abs(s).max())


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
@pytest.mark.parametrize("coefficients", [KELLER, (1.5, -0.5, 0.0), (2.0, -1.5, 0.5), (4.0848, -6.8946, 2.927)])
def test_the_largest_output_of_a_polynomial(coefficients, steps):
    exact = followed(coefficients, steps)
    assert exact <= largest_output(coefficients, steps) <= exact * (1 + 1e-4)


def test_muons_polynomial_reaches_1_2024():
    assert largest_output(KELLER, 5) == pytest.approx(1.20237, abs=1e-5)
    assert largest_output(KELLER, 0) <= 1.02


@given(st.tuples(*[st.floats(-5, 5)] * 3), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_no_polynomial_exceeds_its_enclosure(coefficients, steps):
    assert followed(coefficients, steps, 2001) <= largest_output(coefficients, steps)


def adversarial(n, g):
    yield torch.randn(n, n, generator=g)
    yield with_spectrum(torch.rand(n, generator=g), n, 2 * n, int(g.initial_seed()) + n)
    yield with_spectrum(10 ** (-3 * torch.rand(n, generator=g)), 2 * n, n)
    yield torch.randn(n, n, generator=g).sign()
    yield torch.rand(n, n, generator=g)
    hadamard = torch.ones(1, 1)
    while len(hadamard) < n:
        hadamard = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), hadamard)
    yield hadamard * torch.rand(n, generator=g) @ hadamard.T
    yield hadamard


@pytest.mark.parametrize("coefficients", [KELLER, (1.875, -1.25, 0.375)])
def test_bfloat16_stays_within_its_allowance(coefficients):
    """torch's own iteration. That it comes near shows that an allowance is needed at all."""
    g = torch.Generator().manual_seed(3)
    exact, worst = largest_output(coefficients, 5), 0.0
    for n in (1, 2, 4, 8, 32, 128):
        for matrix in adversarial(n, g):
            weight = parameter(torch.zeros_like(matrix))
            weight.grad = matrix
            Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0, ns_coefficients=coefficients,
                 adjust_lr_fn="match_rms_adamw").step()  # fmt: skip
            worst = max(worst, norm(weight) / (0.2 * math.sqrt(max(matrix.shape))))
    assert exact * 0.97 < worst <= exact * (1 + BFLOAT16_ALLOWANCE)


# Muon


@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_muon_never_leaves_its_bound_under_attack(shape, adjust):
    """Gradients that push the weight's own singular directions outward, random ones, and jumps of 1e8."""
    weight = parameter(gaussian(*shape, scale=0.1))
    optimizer = Muon([weight], lr=0.3, weight_decay=0.5, adjust_lr_fn=adjust)
    row = norm_invariant(optimizer)[0]
    assert row.evidence is Evidence.ESTIMATE
    largest = 0.0
    for i in range(300):
        noise = gaussian(*shape, seed=i, scale=10.0 ** (i % 17 - 8))
        weight.grad = -weight.detach().clone() if i % 3 else noise
        optimizer.param_groups[0]["lr"] = 0.3 * (1 + math.sin(i)) / 2
        optimizer.step()
        largest = max(largest, norm(weight))
    assert largest <= row.bound.value
    assert largest > 0.4 * row.bound.value


def test_muon_reaches_its_bound_where_gradients_agree():
    """A constant gradient whose largest singular value the polynomial sends to its maximum."""
    weight = parameter(torch.zeros(4, 4))
    optimizer = Muon([weight], lr=0.5, weight_decay=0.1, momentum=0.0, ns_steps=1)
    gradient = with_spectrum([0.5545, 0.5545, 0.5, 0.36], 4, 4)
    row = norm_invariant(optimizer)[0]
    for _ in range(300):
        weight.grad = gradient
        optimizer.step()
    assert row.bound.value / (1 + BFLOAT16_ALLOWANCE) * 0.98 < norm(weight) <= row.bound.value
    assert row.level == pytest.approx(12.144, abs=1e-3)


def test_a_weight_beyond_the_level_only_shrinks():
    weight = parameter(with_spectrum([40.0, 30.0], 8, 8))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.1)
    row = norm_invariant(optimizer)[0]
    assert row.bound.value == pytest.approx(40.0, rel=0.01) == row.start
    for _ in range(50):
        weight.grad = -weight.detach().clone()
        optimizer.step()
        assert norm(weight) <= row.bound.value


# The theorem, whatever the updates


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.floats(0.01, 10),
    st.floats(0.01, 10),
    st.floats(0, 30),
    st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_any_schedule_and_any_bounded_update(rates, decay, size, start, seed):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((3, 5))
    w *= start / np.linalg.norm(w, 2)
    ceiling = max(start, size / decay)
    for rate in rates:
        o = rng.standard_normal((3, 5)) if rng.random() < 0.5 else -w + 1e-9
        o *= size / max(np.linalg.norm(o, 2), 1e-300)
        eta = rate / decay
        w = (1 - eta * decay) * w - eta * o
        assert np.linalg.norm(w, 2) <= ceiling * (1 + 1e-12)


def test_a_few_steps_get_only_so_far():
    """From zero with a constant update the recursion is attained, with decay and without."""
    for decay in (0.0, 0.5):
        weight = parameter(torch.zeros(6, 6, dtype=torch.float64))
        optimizer = SignDescent([weight], lr=0.25, weight_decay=decay)
        row = norm_invariant(optimizer, steps=7, update="sign")[0]
        for _ in range(7):
            weight.grad = -torch.ones(6, 6, dtype=torch.float64)
            optimizer.step()
        assert norm(weight) == pytest.approx(row.bound.value, rel=1e-6)
        assert norm(weight) <= row.bound.value
        assert row.evidence is Evidence.ASSUMED


def test_signs_reach_their_level():
    weight = parameter(gaussian(5, 20, scale=0.01))
    optimizer = SignDescent([weight], lr=0.1, weight_decay=0.1)
    row = norm_invariant(optimizer, update="sign")[0]
    assert row.level == pytest.approx(100.0)
    for _ in range(1500):
        weight.grad = -torch.ones(5, 20)
        optimizer.step()
    assert 0.999 * row.bound.value < norm(weight) <= row.bound.value * (1 + 1e-5)


def test_rounded_steps_are_part_of_the_bound_where_their_number_is_known():
    """Decay at the edge of what float32 resolves: the exact level is exceeded, the bound with `steps` is not."""
    weight = parameter(torch.full((4, 4), 0.1))
    optimizer = SignDescent([weight], lr=2.0**-20, weight_decay=1.0)
    exact = norm_invariant(optimizer, update="sign")[0]
    counted = norm_invariant(optimizer, steps=3000, update="sign")[0]
    assert counted.bound.value < exact.bound.value, "3000 steps do not reach the level"
    for _ in range(3000):
        weight.grad = -torch.ones(4, 4)
        optimizer.step()
    assert norm(weight) <= counted.bound.value


# Adam


def ratio(gradients, beta1, beta2):
    m = v = 0.0
    for g in gradients:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    t = len(gradients)
    return abs(m) / (1 - beta1**t) / math.sqrt(v / (1 - beta2**t))


@pytest.mark.parametrize(
    ("beta1", "beta2", "eps"), [(0.9, 0.999, 1e-8), (0.9, 0.95, 1e-8), (0.8, 0.9, 1e-10), (0.0, 0.99, 1e-8)]
)
def test_adams_entries_are_bounded_and_the_bound_is_approached(beta1, beta2, eps):
    bound = adam_ratio(beta1, beta2, eps)
    steps = int(40 / (1 - beta2))
    # Newer gradients larger by β₂/β₁ attain Cauchy-Schwarz.
    gradients = [(beta1 / beta2) ** (steps - 1 - i) if beta1 else float(i == steps - 1) for i in range(steps)]
    attained = ratio(gradients, beta1, beta2)
    assert 0.999 * bound < attained <= bound


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0, 0.99), st.floats(0.9, 0.999))
@settings(max_examples=200, deadline=None)
def test_no_gradients_exceed_adams_bound(gradients, beta1, beta2):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        step = abs(m) / (1 - beta1**t) / (math.sqrt(v / (1 - beta2**t)) + 1e-8)
        assert step <= adam_ratio(beta1, beta2, 1e-8)


@pytest.mark.parametrize("foreach", [False, True])
def test_torchs_adamw_comes_near_and_stays_below(foreach):
    bound = adam_ratio(0.9, 0.999, 1e-8, torch.float32)
    assert bound == pytest.approx(7.27, abs=0.01)
    weight = parameter(torch.zeros(2, 3))
    optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0, foreach=foreach)
    row = norm_invariant(optimizer, steps=10_000)[0]
    assert row.evidence is Evidence.PROVED
    largest, steps = 0.0, 1500
    optimizer.zero_grad()
    for i in range(steps):
        before = weight.detach().clone()
        weight.grad = torch.full((2, 3), max((0.9 / 0.999) ** (steps - 1 - i), 1e-15))
        optimizer.step()
        largest = max(largest, float((weight.detach() - before).abs().max()))
    assert 0.85 * bound < largest <= bound
    assert norm(weight) <= row.bound.value


def test_adams_bound_in_formats_that_cannot_carry_it():
    assert adam_ratio(0.9, 0.999, 1e-8, torch.float32) < 7.2704
    assert adam_ratio(0.9, 0.95, 1e-8, torch.bfloat16) == math.inf
    assert adam_ratio(0.9, 0.999, 1e-8, torch.float16) == math.inf, "float16 holds no 1e-8"
    assert adam_ratio(0.9, 0.81, 1e-8) == math.inf
    assert adam_ratio(0.9, 0.999, 0.0) == math.inf


def test_adamw_with_decay_keeps_its_proved_bound():
    weight = parameter(gaussian(8, 12, scale=3.0))
    optimizer = torch.optim.AdamW([weight], lr=0.5, weight_decay=0.5)
    row = norm_invariant(optimizer, steps=400)[0]
    assert row.evidence is Evidence.PROVED
    assert row.level == pytest.approx(7.27 * math.sqrt(96) / 0.5, rel=0.001)
    for i in range(400):
        weight.grad = gaussian(8, 12, seed=i, scale=10.0 ** (i % 9 - 4))
        optimizer.step()
        assert norm(weight) <= row.bound.value


# Where there is no bound


def refusal(optimizer, **options):
    row = norm_invariant(optimizer, **options)[0]
    assert row.bound is None
    assert "no bound" in str(row)
    return row.why


def test_what_has_no_bound_says_why():
    w = [parameter(gaussian(4, 4))]
    assert "grow with the gradients" in refusal(torch.optim.SGD(w, lr=0.1, weight_decay=0.1))
    assert "AdamW" in refusal(torch.optim.Adam(w, weight_decay=0.1))
    assert "first steps" in refusal(torch.optim.RAdam(w))
    assert "without weight decay" in refusal(Muon(w, weight_decay=0.0))
    assert "overshoots" in refusal(Muon(w, lr=20.0, weight_decay=0.1))
    assert "betas" in refusal(torch.optim.AdamW(w, betas=(0.99, 0.9)))
    assert "diverge" in refusal(Muon(w, ns_coefficients=(3.4445, 4.775, 2.0315)))
    assert "update=" in refusal(SignDescent(w, lr=0.1, weight_decay=0.1))
    assert "NaN" in refusal(Muon([parameter(torch.full((2, 2), math.nan))]))


def test_decay_that_bfloat16_loses_is_no_bound():
    weight = parameter(gaussian(16, 16).bfloat16())
    optimizer = Muon([weight], lr=1e-3, weight_decay=0.1)
    assert "lost in the rounding of bfloat16" in refusal(optimizer)
    before = weight.detach().clone()
    for _ in range(20):
        weight.grad = torch.zeros(16, 16, dtype=torch.bfloat16)
        optimizer.step()
    assert torch.equal(weight, before), "and lost it is"


def test_unlike_without_decay_a_run_of_known_length_has_a_bound():
    weight = parameter(gaussian(8, 8, scale=0.1))
    optimizer = Muon([weight], lr=0.02, weight_decay=0.0)
    row = norm_invariant(optimizer, steps=100)[0]
    for _ in range(100):
        weight.grad = -weight.detach().clone()
        optimizer.step()
    assert norm(weight) <= row.bound.value < 0.02 * 100 * 1.22 + row.start


def test_bad_options():
    optimizer = Muon([parameter(gaussian(4, 4))])
    with pytest.raises(opnorm.UsageError, match="steps=-1"):
        norm_invariant(optimizer, steps=-1)
    with pytest.raises(opnorm.UsageError, match="cap=0"):
        decay_for(0, optimizer)
    with pytest.raises(opnorm.UsageError, match="update=-1"):
        norm_invariant(SignDescent([parameter(gaussian(2, 2))], 0.1, 0.1), update=-1)
    with pytest.raises(opnorm.UsageError, match="no weight decay gives a bound"):
        decay_for(1.0, torch.optim.SGD([parameter(gaussian(2, 2))], lr=0.1))


# The other way round, and names


def test_decay_for_a_cap_holds_it():
    weight = parameter(gaussian(16, 16, scale=0.1))
    optimizer = Muon([weight], lr=0.2, weight_decay=0.0)
    (decay,) = decay_for(2.0, optimizer).values()
    assert decay == pytest.approx(0.607, abs=1e-3)
    optimizer.param_groups[0]["weight_decay"] = decay
    for _ in range(200):
        weight.grad = -weight.detach().clone()
        optimizer.step()
    assert 1.5 < norm(weight) <= 2.0 >= norm_invariant(optimizer)[0].level * (1 - 1e-9)
    with pytest.raises(opnorm.UsageError, match="too much for a learning rate"):
        decay_for(0.1, optimizer)


def test_names_shapes_and_several_optimizers():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(8, 4), torch.nn.Linear(4, 2))
    muon = Muon([model[1].weight])
    adamw = torch.optim.AdamW([p for p in model.parameters() if p is not model[1].weight])
    rows = norm_invariant([muon, adamw], model)
    assert [(r.name, r.optimizer, r.shape) for r in rows] == [
        ("1.weight", "Muon", (4, 8)),
        ("2.weight", "AdamW", (2, 4)),
    ]
    assert norm_invariant(muon)[0].name == "param_groups[0].params[0]"
    assert norm_invariant(torch.optim.AdamW(model[1].named_parameters()))[0].name == "weight"
    assert "estimate" in str(rows[0])


def test_a_learning_rate_that_will_grow_counts():
    weight = parameter(gaussian(4, 4))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4.0, total_steps=10, cycle_momentum=False)
    assert "overshoots" in refusal(optimizer)


def test_betas_that_a_schedule_moves_have_no_bound():
    weight = parameter(gaussian(4, 4))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    assert "constant betas" in refusal(optimizer)
