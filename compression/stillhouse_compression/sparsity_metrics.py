"""How sparse tensors and networks are, element by element and structure by structure.

Fractions are 0..1. A NaN is an error, never a zero.

Depends on: torch, layers (for multiply-accumulates).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor, nn

from stillhouse_compression.errors import CompressionError, TrainingDiverged
from stillhouse_compression.layers import COMPUTING, layer_macs
from stillhouse_compression.schedule.ranking import Structure


def density(tensor: Tensor) -> float:
    """Share of elements that are not zero.

    Raises:
        TrainingDiverged: There is a NaN.
    """
    values = _sound(tensor)
    return int(values.count_nonzero()) / values.numel()


def sparsity(tensor: Tensor) -> float:
    """Share of elements that are zero."""
    return 1.0 - density(tensor)


def sparsity_3D(tensor: Tensor) -> float:
    """Share of filters (slices of dimension 0 of a 4-D tensor) that are zero; else 0."""
    return _zero_share(tensor, (1, 2, 3)) if tensor.dim() == 4 else 0.0


def sparsity_ch(tensor: Tensor) -> float:
    """Share of input channels (slices of dimension 1 of a 4-D tensor) that are zero; else 0."""
    return _zero_share(tensor, (0, 2, 3)) if tensor.dim() == 4 else 0.0


def sparsity_2D(tensor: Tensor) -> float:
    """Share of kernels (4-D) or stored rows (2-D) that are zero; else 0."""
    if tensor.dim() == 4:
        return _zero_share(tensor, (2, 3))
    return _zero_share(tensor, (1,)) if tensor.dim() == 2 else 0.0


def sparsity_cols(tensor: Tensor, transposed: bool = True) -> float:
    """Share of columns of a matrix that are zero.

    Args:
        tensor: 2-D; anything else gives 0.
        transposed: The matrix is meant as it multiplies, the transposed of what torch stores:
            its columns are the stored rows, the outputs.
    """
    if tensor.dim() != 2:
        return 0.0
    return _zero_share(tensor, (1,) if transposed else (0,))


def sparsity_rows(tensor: Tensor, transposed: bool = True) -> float:
    """Share of rows of a matrix that are zero: of the stored columns, if ``transposed``."""
    if tensor.dim() != 2:
        return 0.0
    return _zero_share(tensor, (0,) if transposed else (1,))


def sparsity_blocks(tensor: Tensor, block_shape: Sequence[int]) -> float:
    """Share of blocks that are zero.

    Args:
        tensor: 4-D; anything else gives 0.
        block_shape: (repetitions, depth, 1, 1).

    Raises:
        CompressionError: The blocks do not divide the tensor.
    """
    if tensor.dim() != 4:
        return 0.0
    repetitions, depth, height, width = block_shape
    structure = Structure("Blocks", (repetitions, depth, height, width))
    fault = structure.fault("the tensor", tensor.shape)
    if fault is not None:
        raise CompressionError(fault)
    scores = structure.scores(_sound(tensor), 1)
    return int((scores == 0).sum()) / scores.numel()


def model_sparsity(model: nn.Module) -> float:
    """Percentage (0..100) of zeros in a network's 2-D and 4-D weights, as the original counts."""
    n_zero = n_all = 0
    for name, tensor in model.state_dict().items():
        if tensor.dim() in (2, 4) and ("weight" in name or "bias" in name):
            n_zero += tensor.numel() - int(_sound(tensor).count_nonzero())
            n_all += tensor.numel()
    return 100.0 * n_zero / n_all if n_all else 0.0


def _sound(tensor: Tensor) -> Tensor:
    values = tensor.detach()
    if values.is_floating_point() and bool(values.isnan().any()):
        raise TrainingDiverged("training diverged: a tensor has NaN, which is not sparsity")
    return values


def _zero_share(tensor: Tensor, dims: tuple[int, ...]) -> float:
    is_zero = _sound(tensor).abs().amax(dim=dims) == 0
    return int(is_zero.sum()) / is_zero.numel()


@dataclass(frozen=True)
class SparsityRow:
    """One convolution or linear layer.

    Attributes:
        name: Parameter name.
        shape: Its shape.
        dense: Its number of elements.
        nonzero: How many of them are not zero.
        element: Share of zero elements.
        filters: Share of zero filters; of stored rows (outputs) for a linear layer.
        channels: Share of zero input channels; of stored columns (inputs) for a linear layer.
        rows: Share of zero rows of a linear layer's matrix as it multiplies: its inputs; 0 for a
            convolution.
        cols: Share of its zero columns: its outputs.
        kernels: Share of zero kernels (``2D``); of stored rows for a linear layer.
        macs: Multiply-accumulates of one image; None when no input shape was given.
        params: Parameters of the layer, bias included.
    """

    name: str
    shape: tuple[int, ...]
    dense: int
    nonzero: int
    element: float
    filters: float
    channels: float
    rows: float
    cols: float
    kernels: float
    macs: int | None
    params: int


@dataclass(frozen=True)
class SparsityTable:
    """The sparsity of a network, one row a layer."""

    rows: tuple[SparsityRow, ...]

    @property
    def total(self) -> float:
        """Share of zeros over all rows."""
        dense = sum(row.dense for row in self.rows)
        return 1.0 - sum(row.nonzero for row in self.rows) / dense if dense else 0.0

    def to_json(self) -> str:
        """``{"total": 0.5, "layers": [...]}``."""
        layers = [asdict(row) | {"shape": list(row.shape)} for row in self.rows]
        return json.dumps({"total": self.total, "layers": layers})

    def to_text(self) -> str:
        """Aligned columns; shares in percent."""
        table = [[field.name for field in fields(SparsityRow)]]
        table += [[_cell(getattr(row, field)) for field in table[0]] for row in self.rows]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        return "\n".join([*lines, f"total sparsity {self.total * 100:.2f} %"])

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``.

        Raises:
            CompressionError: pandas is not installed.
        """
        try:
            import pandas  # optional: only who wants a data frame needs it
        except ImportError as error:
            raise CompressionError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame([asdict(row) for row in self.rows])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value * 100:.2f}"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return "-" if value is None else str(value)


def sparsity_table(model: nn.Module, input_shape: Sequence[int] | None = None) -> SparsityTable:
    """Describe every convolution and linear layer of a network.

    Args:
        model: Not changed.
        input_shape: (channels, height, width); without it no multiply-accumulates are counted.

    Raises:
        TrainingDiverged: A weight is NaN.
    """
    macs = {} if input_shape is None else layer_macs(model, input_shape)
    rows = []
    for name, module in model.named_modules():
        if not isinstance(module, COMPUTING):
            continue
        weight = _sound(module.weight)
        is_linear = weight.dim() == 2
        nonzero = int(weight.count_nonzero())
        rows.append(
            SparsityRow(
                name=f"{name}.weight" if name else "weight",
                shape=tuple(weight.shape),
                dense=weight.numel(),
                nonzero=nonzero,
                element=1.0 - nonzero / weight.numel(),
                filters=sparsity_cols(weight) if is_linear else sparsity_3D(weight),
                channels=sparsity_rows(weight) if is_linear else sparsity_ch(weight),
                rows=sparsity_rows(weight),
                cols=sparsity_cols(weight),
                kernels=sparsity_2D(weight),
                macs=macs.get(name) if input_shape is not None else None,
                params=sum(parameter.numel() for parameter in module.parameters()),
            )
        )
    return SparsityTable(tuple(rows))
