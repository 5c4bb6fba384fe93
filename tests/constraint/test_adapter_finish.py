"""The end of a capped adapter: proved bounds on what is stored, against decompositions in float64."""

import numpy as np
import pytest
import torch
from adapters import norm, site

from opnorm.bound import Evidence
from opnorm.constraint.finalize.adapted import AdaptedLayer, finish_adapter
from opnorm.errors import BoundMissed, NotFinite, OpnormError

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def finished(layer, hi=1.0, dtype=None, **options):
    base, b, a = (p.detach() for p in layer.parameters)
    return finish_adapter(AdaptedLayer(base, layer.scale, hi, layer.transposed, **options), b, a, dtype)


def truth(layer, found):
    base = layer.parameters[0].detach().double()
    base = base.T if layer.transposed else base
    return float(torch.linalg.matrix_norm(base + layer.scale * found.b.double() @ found.a.double(), 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_cap_is_proved_and_the_adapter_keeps_most_of_itself(dtype):
    random = np.random.default_rng(3)
    for case in range(12):
        rows, columns = (int(n) for n in random.integers(2, 40, 2))
        rank = int(random.integers(1, 9))
        layer = site(
            rows, columns, rank, base=float(random.uniform(0.1, 0.97)), size=float(10 ** random.uniform(-2, 1.5)),
            scale=float(random.choice([0.5, 2.0, 16 / 7])), transposed=bool(case % 2), seed=case,
        )  # fmt: skip
        kept = [p.clone() for p in layer.parameters]
        found = finished(layer, dtype=dtype)
        assert found.upper <= 1
        assert found.measurement.bracket(Evidence.PROVED).upper == found.upper
        assert truth(layer, found) <= found.upper
        assert found.b.dtype is found.a.dtype is dtype
        assert all(torch.equal(p, k) for p, k in zip(layer.parameters, kept, strict=True))
        if norm(layer) > 1:
            assert truth(layer, found) > 0.97  # it ends at the cap, not at the base
            assert found.share > 0.9


def test_what_is_inside_stays_bit_for_bit():
    layer = site(20, 30, 3)
    found = finished(layer, hi=norm(layer) * 1.0001)
    assert not found.changed
    assert torch.equal(found.b, layer.parameters[1])
    assert torch.equal(found.a, layer.parameters[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_base_just_below_the_cap(dtype):
    layer = site(30, 30, 4, base=0.9999)
    found = finished(layer, dtype=dtype)
    assert 0.99 < truth(layer, found) <= found.upper <= 1


def test_a_base_above_the_cap_is_an_error_that_names_the_layer():
    layer = site(20, 20, 3, base=1.5)
    with pytest.raises(BoundMissed, match=r"blocks\.3\.q.*base weight alone is 1\.5.*rank 3.*at least 1\.5"):
        finished(layer, name="blocks.3.q")
    assert issubclass(BoundMissed, OpnormError)


def test_an_adapter_that_itself_holds_a_large_base_down_is_accepted():
    layer = site(12, 12, 2, base=0.5)
    with torch.no_grad():
        layer.parameters[1].zero_()
        layer.parameters[1][0, 0] = layer.parameters[2][0, 0] = 1.0
        layer.parameters[0][0, 0] -= 2.0
        layer.parameters[2][0, 1:] = 0
    assert norm(layer) < 1 < float(torch.linalg.matrix_norm(layer.parameters[0], 2))
    assert finished(layer).upper <= 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_finite_is_refused_by_name(place):
    layer = site(10, 12, 2)
    layer.parameters[place].data[0, 0] = float("nan")
    with pytest.raises(NotFinite, match=rf"q \({'WBA'[place]}\) holds 1 NaN"):
        finished(layer, name="q")


def test_a_large_layer_is_clipped_thinly_and_proved():
    layer = site(400, 300, 8, size=3.0)
    found = finished(layer)
    assert truth(layer, found) <= found.upper <= 1
