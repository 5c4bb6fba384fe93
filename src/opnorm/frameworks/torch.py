"""PyTorch tensors on any device: exploration where they live, proofs streamed to the host in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opnorm.errors import UnsupportedInput
from opnorm.frameworks import require_matrix, require_real
from opnorm.frameworks.numpy import FLOAT8, HostMatrix, embed
from opnorm.linalg.operator import Block, LinearOperator
from opnorm.linalg.rounding import Float64
from opnorm.linalg.stored import StoredMatrix

_EXPLORED_IN_FLOAT64 = (torch.float64, torch.int32, torch.int64)


def accepts(matrix: Any) -> bool:
    """Whether `matrix` is a torch tensor."""
    return isinstance(matrix, torch.Tensor)


class TorchMatrix(StoredMatrix):
    """A tensor of two dimensions where it lives. Never modified, never tracked by autograd.

    Exploration multiplies on the tensor's device, in float32 (float64 for wider dtypes), a block of columns
    at a time; whatever precision the device really uses there, the float64 pass on the host settles it.
    """

    def __init__(self, tensor: torch.Tensor, *, inexact: bool = False) -> None:
        super().__init__(*tensor.shape, inexact=inexact)
        self.tensor = tensor

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        part = self.tensor[:, start:stop]
        return embed(to_host(part))[0]

    @property
    def T(self) -> TorchMatrix:
        """See `LinearOperator.T`."""
        other = self.rescaled(0)
        other.tensor = self.tensor.T
        other.codomain, other.domain = self.domain, self.codomain
        return other

    def wide(self) -> TorchMatrix:
        """See `LinearOperator.wide`; a square matrix is read along its memory."""
        rows, columns = self.shape
        return self.T if rows > columns or (rows == columns and self.tensor.is_contiguous()) else self

    def gram(self, block: Block) -> Float64:
        """See `LinearOperator.gram`."""
        if self.exponent:
            return self.gram64(np.asarray(block, dtype=np.float64))
        dtype = torch.float64 if self.tensor.dtype in _EXPLORED_IN_FLOAT64 else torch.float32
        device = self.tensor.device
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(block)).to(device=device, dtype=dtype)
            total = torch.zeros_like(x)
            width = self.block_width
            for start in range(0, self.shape[1], width):
                part = self.tensor[:, start : start + width].to(dtype)
                total += part @ (part.T @ x)
            return np.asarray(total.to(device="cpu", dtype=torch.float64).numpy())


def to_host(tensor: torch.Tensor) -> NDArray[Any]:
    """A NumPy view (or a copy from another device) of a tensor, low-precision formats included."""
    host = tensor.detach().to("cpu").resolve_neg()
    name = str(host.dtype).removeprefix("torch.")
    if name in FLOAT8 or name == "bfloat16":
        import ml_dtypes

        code = torch.int16 if name == "bfloat16" else torch.uint8
        kind = np.dtype(getattr(ml_dtypes, name))
        return np.asarray(host.contiguous().view(code).numpy().view(kind))
    return np.asarray(host.numpy())


def require_entries(tensor: torch.Tensor, what: str) -> None:
    """Refuse what has no plain entries to read; `what` the tensor is, in a word."""
    if tensor.is_meta:
        raise UnsupportedInput(f"a {what} on the meta device has a shape and no entries; load its weights first")
    if tensor.layout is not torch.strided:
        raise UnsupportedInput(f"a {what} of layout {tensor.layout} is not read; use tensor.to_dense() or scipy.sparse")
    if tensor.is_quantized:
        raise UnsupportedInput(f"a quantized {what} holds codes; measure tensor.dequantize()")


def adapt(tensor: Any) -> LinearOperator:
    """A `TorchMatrix` over `tensor`; a tensor on the host in float32 or float64 shares memory with NumPy."""
    require_real(tensor.is_complex(), tensor.dtype)
    require_matrix(tuple(tensor.shape), tensor.dtype)
    require_entries(tensor, "tensor")
    tensor = tensor.detach()
    if tensor.device.type == "cpu":
        entries, inexact = embed(to_host(tensor))
        return (
            TorchMatrix(torch.from_numpy(entries), inexact=inexact)
            if entries.flags.writeable
            else HostMatrix(entries, inexact=inexact)
        )
    return TorchMatrix(tensor, inexact=tensor.dtype in (torch.int64, torch.uint64))
