"""Time per torch layer from a runtime's node times.

Depends on: the standard library. Pure: the backends bring the node times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

from stillhouse_benchmark.protocol import RUNTIME_ROW, LayerTime

# Names that a runtime makes up: Convolution_1827, Reshape_74, Multiply_415/fq_input_0.
INVENTED = re.compile(r"[A-Z][A-Za-z0-9]*_\d+(/.*)?\Z")
BIAS_SPLIT = "/WithoutBiases"
HELPERS = ("Reorder", "Copy", "Convert", "<Extra>", "<Split>", "<Concat>")
HEAVY = ("Convolution", "FullyConnected", "MatMul", "GroupConvolution", "Deconvolution")


@dataclass(frozen=True)
class NodeTime:
    """One executed node.

    Attributes:
        name: The runtime's name for it.
        type: Its operation, such as ``Convolution``.
        originals: Names of the nodes it was made of, in the graph's order, if the runtime tells.
        time_ms: In one inference.
    """

    name: str
    type: str
    originals: tuple[str, ...]
    time_ms: float


@dataclass(frozen=True)
class Profile:
    """All executed nodes of a network, and the whole inference with profiling on."""

    nodes: tuple[NodeTime, ...]
    wall_ms: float


@dataclass(frozen=True)
class _Row:
    type: str
    time_ms: float


def layer_times(candidate: Profile, baseline: Profile) -> tuple[LayerTime, ...]:
    """Merge both networks' times by layer, in the baseline's order; the remainder comes last.

    A node belongs to the first of its original nodes that has a name of the network's own: a
    convolution with its bias, addition and activation fused in is the convolution. A helper
    without such a name (a reorder between two layouts) belongs to the layer it was put in for,
    which the runtimes write into its name. What is left, and what the inference took beyond its
    nodes, is the row ``(runtime)``.
    """
    ours, theirs = _by_layer(candidate), _by_layer(baseline)
    rows = []
    for layer in [*theirs, *(name for name in ours if name not in theirs)]:
        known = theirs.get(layer) or ours[layer]
        rows.append(
            LayerTime(
                layer=layer,
                type=known.type,
                candidate_ms=ours[layer].time_ms if layer in ours else 0.0,
                baseline_ms=theirs[layer].time_ms if layer in theirs else 0.0,
            )
        )
    rows.append(
        LayerTime(
            layer=RUNTIME_ROW,
            type="Runtime",
            candidate_ms=max(0.0, candidate.wall_ms - sum(r.time_ms for r in ours.values())),
            baseline_ms=max(0.0, baseline.wall_ms - sum(r.time_ms for r in theirs.values())),
        )
    )
    return tuple(rows)


def coverage(profile: Profile) -> float:
    """Share of the executed nodes' time that has a layer's name, 0..1."""
    total = sum(node.time_ms for node in profile.nodes)
    named = sum(row.time_ms for row in _by_layer(profile).values())
    return named / total if total > 0.0 else 1.0


def layer_of(name: str, originals: Sequence[str] = ()) -> str | None:
    """The layer a node was made for, None where its names tell none."""
    for original in originals or (name,):
        plain = original[: -len(BIAS_SPLIT)] if original.endswith(BIAS_SPLIT) else original
        plain = plain.partition("@")[0]  # the stick's stages of one layer: conv1@soc=01/02
        if plain and not INVENTED.match(plain):
            return plain
    return None


def _by_layer(profile: Profile) -> dict[str, _Row]:
    owners: dict[str, str] = {}  # node name -> layer
    for node in profile.nodes:
        layer = None if _is_helper(node) else layer_of(node.name, node.originals)
        if layer is not None:
            owners[node.name] = layer
    rows: dict[str, _Row] = {}
    # Helpers last, so that rows stand in the order of the layers themselves.
    for node in sorted(profile.nodes, key=lambda node: node.name not in owners):
        layer = owners.get(node.name) or _helped(node.name, owners)
        if layer is None:
            continue
        old = rows.get(layer, _Row(node.type, 0.0))
        kind = node.type if node.type in HEAVY or _is_helper_type(old.type) else old.type
        rows[layer] = _Row(kind, old.time_ms + node.time_ms)
    return rows


def _is_helper(node: NodeTime) -> bool:
    return _is_helper_type(node.type) and not node.originals


def _is_helper_type(kind: str) -> bool:
    return kind in HELPERS


def _helped(name: str, owners: dict[str, str]) -> str | None:
    """The layer whose node's name ends, else begins, a helper's name; the longest such."""
    after = [node for node in owners if name.endswith("_" + node)]
    before = [node for node in owners if name.startswith(node + "_")]
    for found in (after, before):
        if found:
            return owners[max(found, key=len)]
    return None


def middle_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: finer than a median where a clock ticks in microseconds."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle) if middle else 0.0
