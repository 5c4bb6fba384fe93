"""Files of torch.save, of both forms and every protocol, give what torch.load(weights_only=True) gives, bit for bit."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hostile import load

from opnorm.errors import CheckpointError
from opnorm.readers import open_checkpoint
from opnorm.readers.naming import identify

DTYPES = [
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"),
    *("float8_e5m2fnuz", "float8_e8m0fnu", "complex64", "complex128", "bool", "uint8", "int8", "int16", "int32"),
    *("int64", "uint16", "uint32", "uint64"),
]
FORMS = [(True, 2), (True, 3), (True, 4), (True, 5), (False, 2), (False, 3), (False, 4), (False, 5)]


def save(value, path, zipped=True, protocol=2):
    torch.save(value, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def bits(value):
    """The bytes of a tensor's entries in row-major order, its lazy conjugation done."""
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def assert_same(path, expected):
    """The tensors of the file are `expected`, in that order."""
    with open_checkpoint(path) as checkpoint:
        assert [t.name for t in checkpoint.tensors] == list(expected)
        for described in checkpoint.tensors:
            value, entries = expected[described.name], checkpoint.read(described)
            assert described.shape == entries.shape == tuple(value.shape)
            assert f"torch.{described.dtype}" == str(value.dtype)
            assert described.dtype == entries.dtype.name
            assert described.nbytes == entries.nbytes == value.numel() * value.element_size()
            assert np.ascontiguousarray(entries).tobytes() == bits(value)


def random(dtype, *shape):
    """Any bits at all, NaN and all, but for booleans."""
    kind = getattr(torch, dtype)
    if dtype == "bool":
        return torch.rand(shape) < 0.5
    size = torch.empty((), dtype=kind).element_size()
    return torch.randint(0, 256, (*shape[:-1], shape[-1] * size), dtype=torch.uint8).view(kind)


def views(base):
    """Views of all kinds of a 6 × 4 tensor."""
    return {
        "itself": base,
        "transposed": base.t(),
        "row": base[2],
        "column": base[:, 1],
        "part": base[1:5, 1:3],
        "every second": base[::2, ::3],
        "part transposed": base[1:5, 1:3].t(),
        "folded": base.reshape(2, 3, 4).permute(2, 0, 1),
        "scalar": base[3, 2],
        "nothing": base[6:],
        "nothing transposed": base[:, 4:].t(),
        "expanded": base[0].expand(5, 4),
        "expanded scalar": base[1, 1].expand(3, 2),
        "new side": base[:, None, :],
        "overlapping": base.as_strided((5, 4), (2, 1)),
        "diagonal": base.diagonal(),
        "one by one": base[:1, :1],
    }


def newer(dtype):
    return dtype.startswith(("float8", "uint")) and dtype != "uint8"


@pytest.mark.parametrize(("zipped", "protocol"), FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_view(dtype, zipped, protocol, tmp_path):
    torch.manual_seed(0)
    value = views(random(dtype, 6, 4))
    path = save(value, tmp_path / "w.pt", zipped, protocol)
    assert_same(path, value)
    if zipped or not newer(dtype):  # torch itself cannot load these from the legacy form
        assert_same(path, torch.load(path, weights_only=protocol == 2))  # nor other protocols as weights only


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (0, 5), (3, 0), (1, 1), (2, 3, 4, 5), (1,) * 8, (300, 200)])
def test_every_shape(shape, zipped, tmp_path):
    assert_same(save({"w": torch.rand(shape)}, tmp_path / "w.pt", zipped), {"w": torch.load(tmp_path / "w.pt")["w"]})


@pytest.mark.parametrize("zipped", [True, False])
def test_modules_parameters_and_buffers(zipped, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    for value in (model.state_dict(), dict(model.named_parameters())):
        assert_same(save(value, tmp_path / "w.pth", zipped), value)


def test_a_buffer_and_a_parameter_with_attributes(tmp_path):
    parameter = torch.nn.Parameter(torch.rand(2, 2))
    parameter.note = "mine"
    value = {"p": parameter, "b": torch.nn.Buffer(torch.rand(3))}
    assert_same(save(value, tmp_path / "w.pt"), value)


@pytest.mark.parametrize("zipped", [True, False])
def test_tied_tensors_are_both_there(zipped, tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with open_checkpoint(save(model.state_dict(), tmp_path / "w.pt", zipped)) as checkpoint:
        tensors = {t.name: t for t in checkpoint.tensors}
        assert len(tensors) == 4
        assert tensors["0.weight"].offset == tensors["1.weight"].offset
    assert_same(tmp_path / "w.pt", model.state_dict())


def test_a_tensor_alone_is_named_after_its_file(tmp_path):
    value = torch.rand(3, 2)
    for protocol in (2, 4):
        assert_same(save(value, tmp_path / "kernel.pt", protocol=protocol), {"kernel": value})
    assert_same(save(torch.nn.Parameter(value), tmp_path / "kernel.pt"), {"kernel": value})


def test_what_is_no_weight_is_passed_over(tmp_path):
    plain = {"epoch": 3, "loss": 0.5, "huge": 10**30, "none": None, "flags": [True, False], "pair": (1, "two")}
    plain |= {"set": {1, 2}, "frozen": frozenset({3}), "bytes": b"\0\xff", "array": bytearray(b"x"), "complex": 1j}
    plain |= {"size": torch.Size([1, 2]), "device": torch.device("cpu"), "dtype": torch.bfloat16, "text": "ünï\n"}
    plain |= {"deep": {"er": [{"x": ()}]}}
    plain |= {7: "seven", (1, 2): "key", -1.5: "half", "long": "x" * 70_000}
    for zipped, protocol in FORMS:
        path = save(plain | {"w": torch.ones(2)}, tmp_path / "w.pt", zipped, protocol)
        assert_same(path, {"w": torch.ones(2)})
        with open_checkpoint(save(plain, tmp_path / "none.pt", zipped, protocol)) as checkpoint:
            assert checkpoint.tensors == []


def test_a_bare_storage_is_a_vector(tmp_path):
    save({"raw": torch.arange(6, dtype=torch.uint8).untyped_storage()}, tmp_path / "w.pt")
    assert_same(tmp_path / "w.pt", {"raw": torch.arange(6, dtype=torch.uint8)})


@pytest.mark.parametrize("zipped", [True, False])
def test_optimizer_state_is_known_as_such(zipped, tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    value = {"model": model.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "epoch": 1}
    value |= {"scheduler": scheduler.state_dict(), "rng": torch.get_rng_state()}
    with open_checkpoint(save(value, tmp_path / "c.pt", zipped)) as checkpoint:
        statuses = {t.name: identify(t.name, t.dtype, t.shape).status for t in checkpoint.tensors}
    states = {name for name, status in statuses.items() if status == "optimizer"}
    assert statuses.keys() - states == {"weight", "bias", "rng"}
    assert states == {
        f"optimizer_state.optimizer_state_dict.state.{n}.{part}"
        for n in range(2)
        for part in ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    }
    loaded = torch.load(tmp_path / "c.pt", weights_only=True)["optimizer_state_dict"]["state"][1]["exp_avg"]
    assert (load(tmp_path / "c.pt")["optimizer_state.optimizer_state_dict.state.1.exp_avg"] == loaded.numpy()).all()
    with open_checkpoint(save(optimizer.state_dict(), tmp_path / "optimizer.pt", zipped)) as checkpoint:
        assert {identify(t.name, t.dtype, t.shape).status for t in checkpoint.tensors} == {"optimizer"}


def unread(tmp_path, value, name="q"):
    """Dtype, and the refusal to read it, of a tensor beside which `w` is read."""
    save({name: value, "w": torch.ones(2)}, tmp_path / "w.pt")
    with open_checkpoint(tmp_path / "w.pt") as checkpoint:
        described = {t.name: t for t in checkpoint.tensors}
        assert checkpoint.read(described["w"]).tolist() == [1, 1]
        assert identify("q", described[name].dtype, (2, 2)).status == "refused"
        with pytest.raises(CheckpointError) as caught:
            checkpoint.read(described[name])
        return described[name].dtype, tuple(described[name].shape), str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_plain_are_refused_alone(tmp_path):
    value = torch.arange(4.0).reshape(2, 2)
    per_channel = torch.quantize_per_channel(value, torch.ones(2), torch.zeros(2), 0, torch.qint8)
    cases = [
        (torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "qint8", "quantized"),
        (torch.quantize_per_tensor(value, 0.1, 0, torch.quint8), "quint8", "quantized"),
        (per_channel, "qint8", "quantized"),
        (value.to_sparse(), "sparse", "sparse"),
        (value.to_sparse_csr(), "sparse", "sparse"),
        (torch.empty(2, 2, device="meta"), "meta", "never stored"),
        (torch.view_as_complex(value).conj(), "lazy complex64", "conjugated"),
        (torch.view_as_complex(value).conj().imag, "lazy float32", "negated"),
        (torch.zeros(2, 2, dtype=torch.complex32), "complex32", "not read"),
    ]
    for tensor_, dtype, says in cases:
        got, shape, message = unread(tmp_path, tensor_)
        assert (got, shape) == (dtype, tuple(tensor_.shape))
        assert says in message
        assert "'q'" in message
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert unread(tmp_path, nested)[0] == "nested"


class Tagged(torch.Tensor):
    """A tensor of a class of its own."""


def test_a_class_of_its_own_is_refused_by_name(tmp_path):
    save({"w": torch.ones(2).as_subclass(Tagged)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"names the global '.*Tagged'"):
        open_checkpoint(tmp_path / "w.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"names the global 'torch\.nn\.modules\.linear\.Linear'"):
        open_checkpoint(tmp_path / "w.pt")


def test_torch_is_not_loaded(tmp_path):
    save({"w": torch.ones(2, 2)}, tmp_path / "w.pt")
    code = (
        "import sys, opnorm.readers as r\n"
        "with r.open_checkpoint(sys.argv[1]) as c: assert c.read(c.tensors[0]).sum() == 4\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "w.pt")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
