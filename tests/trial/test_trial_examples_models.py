"""The examples that bring their own model: shapes, parts that share nothing, and the same for the same seed."""

import gzip
import hashlib
import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from trial_examples_loaded import DATA, example, needs

SIZES = {
    "power": ((657, 1, 24), (219, 1, 24), (220, 1, 24)),
    "fashion": ((2000, 1, 28, 28), (1000, 1, 28, 28), (2000, 1, 28, 28)),
    "python_source": ((1000, 48), (300, 48), (500, 48)),
}
CLASSES = {"power": 2, "fashion": 10, "python_source": 96}


@pytest.fixture(params=SIZES)
def name(request):
    needs(*{"power": ["ItalyPowerDemand_TRAIN.ts"], "fashion": ["fashion-mnist"]}.get(request.param, []))
    return request.param


def test_shapes_types_and_outputs(name):
    module = example(name)
    parts = module.load_data(3)
    assert tuple(inputs.shape for inputs, _ in parts) == SIZES[name]
    for inputs, targets in parts:
        assert inputs.dtype == (np.int64 if name == "python_source" else np.float32)
        assert targets.dtype == np.int64
        assert 0 <= targets.min() <= targets.max() < CLASSES[name]
        assert np.isfinite(inputs).all()
    inputs, targets = parts[0]
    outputs = module.build_model(3)(torch.from_numpy(inputs[:4]))
    assert outputs.shape == (*targets[:4].shape, CLASSES[name])


def test_same_seed_same_data_and_model_others_differ(name):
    module = example(name)
    first, again, other = (module.load_data(seed) for seed in (1, 1, 2))
    for part in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(first[part], again[part], strict=True))
    assert not np.array_equal(first[0][0], other[0][0])
    weights = [torch.cat([p.flatten() for p in module.build_model(s).parameters()]) for s in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("chosen", ["power", "fashion"])
def test_parts_share_no_example_but_twins_in_the_data(chosen):
    needs("ItalyPowerDemand_TRAIN.ts" if chosen == "power" else "fashion-mnist")
    rows = [{row.tobytes() for row in inputs} for inputs, _ in example(chosen).load_data(0)]
    shared = len(rows[0] & rows[1]) + len(rows[0] & rows[2]) + len(rows[1] & rows[2])
    assert shared == 0
    assert sum(map(len, rows)) == sum(shape[0] for shape in SIZES[chosen])


def test_fashion_is_what_the_files_say():
    needs("fashion-mnist")
    images = DATA / "fashion-mnist" / "t10k-images-idx3-ubyte.gz"
    header = np.frombuffer(gzip.decompress(images.read_bytes())[:16], ">i4")
    assert header.tolist() == [2051, 10_000, 28, 28]
    pixels, classes = example("fashion").images("t10k")
    assert pixels.shape == (10_000, 1, 28, 28)
    assert np.bincount(classes).tolist() == [1000] * 10
    tests = [example("fashion").load_data(seed)[2] for seed in (0, 5)]
    assert np.array_equal(tests[0][0], tests[1][0])  # the official part is fixed
    drawn = np.concatenate([example("fashion").load_data(seed)[0][0] for seed in range(5)])
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02


def test_power_pool_is_both_files():
    needs("ItalyPowerDemand_TRAIN.ts")
    sizes = [len(example("power").days(part)[1]) for part in ("TRAIN", "TEST")]
    assert sizes == [67, 1029]
    targets = np.concatenate([targets for _, targets in example("power").load_data(0)])
    assert np.bincount(targets).tolist() == [547, 549]


def test_source_targets_are_the_next_character():
    for inputs, targets in example("python_source").load_data(0):
        assert np.array_equal(inputs[:, 1:], targets[:, :-1])


def test_source_parts_come_from_different_files():
    """Each piece lies within the text of its own part's files; a part's pieces do not repeat."""
    module = example("python_source")
    generator, count = np.random.default_rng(0), len(module.texts())
    order, fifth = generator.permutation(count), count // 5
    assert count > 100
    ranges = (order[: 3 * fifth], order[3 * fifth : 4 * fifth], order[4 * fifth :])
    assert len(set(np.concatenate(ranges))) == count
    for files, (inputs, _) in zip(ranges, module.load_data(0), strict=True):
        text = np.concatenate([module.texts()[index] for index in files]).astype(np.uint8).tobytes()
        assert all(row.astype(np.uint8).tobytes() in text for row in inputs[:50])
        assert len(np.unique(inputs, axis=0)) > 0.97 * len(inputs)


def test_source_model_looks_at_no_later_character():
    model = example("python_source").build_model(0)
    letters = torch.randint(96, (2, 48), generator=torch.Generator().manual_seed(0))
    changed = letters.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 96
    with torch.no_grad():
        before, after = model(letters), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20], after[:, 20])


def test_source_digest_is_of_the_text_read_here_in_another_way():
    paths = [path for path in Path(sysconfig.get_path("stdlib")).iterdir() if path.suffix == ".py"]
    read = [path.read_bytes() for path in sorted(paths) if path.stat().st_size > 4096]
    text = "".join(one.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n") for one in read)
    places = bytes(0 if letter == "\n" else ord(letter) - 31 for letter in re.sub(r"[^\n -~]", "?", text))
    assert example("python_source").digest() == hashlib.sha256(places).hexdigest()
