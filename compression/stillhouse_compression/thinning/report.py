"""What thinning did: the coupled groups, what was cut, what stayed masked and why.

Depends on: the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CutLayer:
    """One layer that became smaller.

    Attributes:
        layer: Module path.
        filters: (before, after).
        channels: Input channels (or input features), (before, after).
    """

    layer: str
    filters: tuple[int, int]
    channels: tuple[int, int]


@dataclass(frozen=True)
class StayedMasked:
    """Zero filters or input channels of one layer that could not be cut.

    Attributes:
        layer: Module path.
        part: ``filters`` or ``channels``.
        n: How many.
        group: The layers coupled with it, itself included; empty when it stands alone.
        reason: One clause, e.g. ``not zero in layer1.1.conv2``.
    """

    layer: str
    part: str
    n: int
    group: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class ThinningReport:
    """The outcome of one thinning.

    Attributes:
        coupled: Groups of layers whose filters can only be cut together.
        cut: Layers that became smaller, in model order.
        stayed: Zero structures that are still there.
        macs: Multiply-accumulates of one image (before, after).
        params: Parameters (before, after).
        output_change: Largest absolute change of any output over a seeded random batch, in
            evaluation mode: 0 up to rounding where every cut filter emitted nothing.
        output_scale: Largest absolute output before, over the same batch.
    """

    coupled: tuple[tuple[str, ...], ...]
    cut: tuple[CutLayer, ...]
    stayed: tuple[StayedMasked, ...]
    macs: tuple[int, int]
    params: tuple[int, int]
    output_change: float
    output_scale: float

    @property
    def n_filters_cut(self) -> int:
        """Filters that are gone, over all layers."""
        return sum(layer.filters[0] - layer.filters[1] for layer in self.cut)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON data, its text among it."""
        return {
            "coupled": [list(group) for group in self.coupled],
            "cut": [
                {
                    "layer": layer.layer,
                    "filters": list(layer.filters),
                    "channels": list(layer.channels),
                }
                for layer in self.cut
            ],
            "stayed": [
                {
                    "layer": item.layer,
                    "part": item.part,
                    "n": item.n,
                    "group": list(item.group),
                    "reason": item.reason,
                }
                for item in self.stayed
            ],
            "n_filters_cut": self.n_filters_cut,
            "macs": list(self.macs),
            "params": list(self.params),
            "output_change": self.output_change,
            "output_scale": self.output_scale,
            "text": self.to_text(),
        }

    def __str__(self) -> str:
        """What `print` shows."""
        return self.to_text()

    def to_text(self) -> str:
        """The report for people, a line a fact."""
        lines = [f"coupled: {', '.join(group)}" for group in self.coupled]
        for layer in self.cut:
            parts = [
                f"{before} -> {after} {name}"
                for name, (before, after) in (
                    ("filters", layer.filters),
                    ("input channels", layer.channels),
                )
                if before != after
            ]
            lines.append(f"cut {layer.layer}: {', '.join(parts)}")
        if not self.cut:
            lines.append("nothing was cut")
        lines += [
            f"stays masked: {item.n} {item.part} of {item.layer}: {item.reason}"
            + (f" (coupled: {', '.join(item.group)})" if item.group else "")
            for item in self.stayed
        ]
        lines.append(
            f"MACs {self.macs[0]} -> {self.macs[1]}, parameters {self.params[0]} -> "
            f"{self.params[1]}, largest change of an output {self.output_change:.3g} "
            f"(of {self.output_scale:.3g})"
        )
        return "\n".join(lines)
