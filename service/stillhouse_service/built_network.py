"""The network that a config builds, worked out without training: ``cheap_features`` of a study.

Depends on: stillhouse_compression, numpy. Where a schedule fixes how many filters go (ranked
filters, cut in whole groups), the optimizer sees the network as built and not as asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.schedule.names import expand
from stillhouse_compression.template import parse_template
from stillhouse_compression.template.template import Template
from stillhouse_service.channel_map import ChannelMap, channel_map
from stillhouse_service.schedule_cases import Case, Columns, ScheduleCases

_log = logging.getLogger(__name__)
Array = NDArray[np.float64]
_ROUNDING: Mapping[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
}
# Rankers that take as many filters as they are told to, whatever the weights; `_AGP` likewise.
_EXACT = frozenset(
    {
        "L1RankedStructureParameterPruner",
        "L2RankedStructureParameterPruner",
        "ActivationAPoZRankedFilterPruner",
        "ActivationMeanRankedFilterPruner",
        "GradientRankedFilterPruner",
        "RandomRankedFilterPruner",
    }
)


@lru_cache(maxsize=16)
def built_network(
    template_yaml: str, training_yaml: str, model: str, dataset: str
) -> BuiltNetwork | None:
    """Read a stored template and its network; None where the schedule fixes no filter's fate."""
    try:
        channels = channel_map(model, dataset)
    except CompressionError as error:
        _log.warning("proposals for %s see configs as asked for: %s", model, error)
        return None
    found = BuiltNetwork(parse_template(template_yaml, training_yaml), channels)
    return found if found.says_anything else None


class BuiltNetwork:
    """What configs of one template make of one network; called with columns of configs.

    Attributes:
        replaced: Parameters whose input is the share of filters that really goes.
    """

    def __init__(self, template: Template, channels: ChannelMap) -> None:
        self._channels = channels
        self._cases = ScheduleCases(template)
        self._pruners: list[tuple[str, Case, list[int]]] = []
        names = [f"{layer.name}.weight" for layer in channels.layers]
        inexact: set[str | None] = set()
        for pruner, cases in self._cases.pruners.items():
            for case in cases:
                if not _is_exact(case):
                    inexact.add(case.level.parameter)
                    continue
                weights = expand([str(name) for name in case.fields["weights"]], names)
                self._pruners.append((pruner, case, [names.index(name) for name in weights]))
        exact = {case.level.parameter for _, case, layers in self._pruners if layers}
        self.replaced = sorted(self._cases.single_use & (exact - inexact))

    @property
    def says_anything(self) -> bool:
        """Whether any filter's fate is fixed by the schedule."""
        return any(layers for _, _, layers in self._pruners)

    def __call__(self, columns: Columns) -> dict[str, Array]:
        """Say what configs build.

        Args:
            columns: Parameter -> values of n configs, as the optimizer's ``cheap_features`` gets
                them.

        Returns:
            For each replaced parameter the share of its layers' filters that goes, NaN where it
            is inactive; ``mac_share`` and ``param_share`` of the dense network; ``off_16`` and
            ``off_32``: the share of what is left of the MACs in layers whose filters are no
            multiple of 16 and of 32. All 0..1, of shape (n,).
        """
        n = len(next(iter(columns.values())))
        layers = self._channels.layers
        masked = np.zeros((n, len(layers)))  # filters that are zero in the end
        shared = np.zeros((n, len(layers)), dtype=int)  # which pruner's one verdict it was; 0 none
        gone: dict[str, list[tuple[Array, float]]] = {name: [] for name in self.replaced}
        for number, (pruner, case, of) in enumerate(self._pruners, start=1):
            runs = self._cases.is_so(case.conditions, columns, n)
            runs &= self._cases.is_run(pruner, columns, n)
            level = np.nan_to_num(case.level.of(columns, n))
            is_shared = case.fields.get("group_dependency") is not None
            for j in of:
                pruned = np.where(runs, _n_pruned(case, layers[j].n_filters, level), 0.0)
                is_more = pruned > masked[:, j]
                masked[:, j] = np.where(is_more, pruned, masked[:, j])
                shared[:, j] = np.where(is_more, number if is_shared else 0, shared[:, j])
                if case.level.parameter in gone:
                    gone[case.level.parameter].append((pruned, float(layers[j].n_filters)))
        features = self._shares(self._kept(masked, shared))
        for name, parts in gone.items():
            share = sum(part for part, _ in parts) / sum(size for _, size in parts)
            features[name] = np.where(np.isnan(columns[name]), np.nan, share)
        return features

    def _kept(self, masked: Array, shared: NDArray[np.int_]) -> Array:
        """Share of each group's channels that stays; (n, n_groups)."""
        position = {layer.name: j for j, layer in enumerate(self._channels.layers)}
        kept = np.ones((len(masked), len(self._channels.groups)))
        for g, group in enumerate(self._channels.groups):
            members = [position[name] for name in group.layers]
            if not group.is_cuttable:
                continue
            cut = masked[:, members].min(axis=1)
            if len(members) > 1:
                # Layers ranked apart zero different filters: only one verdict for all is cut.
                first = shared[:, members[0]]
                is_one = (first > 0) & (shared[:, members] == first[:, None]).all(axis=1)
                cut = np.where(is_one, cut, 0.0)
            kept[:, g] = 1.0 - np.minimum(cut, group.n_channels - 1) / group.n_channels
        return kept

    def _shares(self, kept: Array) -> dict[str, Array]:
        n = len(kept)
        macs, params, off_16, off_32 = (np.zeros(n) for _ in range(4))
        for layer in self._channels.layers:
            out = kept[:, layer.group] if layer.group is not None else np.ones(n)
            read = 1.0 - sum(
                (share * (1.0 - kept[:, g]) for g, share in layer.reads.items()), np.zeros(n)
            )
            own = layer.macs * out * read
            n_filters = np.rint(out * layer.n_filters)
            macs += own
            params += layer.params * out * read
            off_16 += own * (n_filters % 16 != 0)
            off_32 += own * (n_filters % 32 != 0)
        return {
            "mac_share": macs / max(sum(layer.macs for layer in self._channels.layers), 1),
            "param_share": params / max(sum(layer.params for layer in self._channels.layers), 1),
            "off_16": off_16 / np.maximum(macs, 1.0),
            "off_32": off_32 / np.maximum(macs, 1.0),
        }


def _is_exact(case: Case) -> bool:
    fields = case.fields
    size, weights = fields.get("group_size", 1), fields.get("weights")
    return (
        str(fields.get("class")).removesuffix("_AGP") in _EXACT
        and fields.get("group_type") in ("Filters", "3D")
        and isinstance(size, int)
        and fields.get("rounding_fn", "floor") in _ROUNDING
        and isinstance(weights, Sequence)
        and all(isinstance(name, str) for name in weights)
    )


def _n_pruned(case: Case, n_filters: int, level: Array) -> Array:
    """How many filters of a layer go; as `stillhouse_compression.schedule.ranking.n_to_prune`."""
    size: Any = case.fields.get("group_size", 1)
    rounding = _ROUNDING[str(case.fields.get("rounding_fn", "floor"))]
    n = rounding(rounding(level * n_filters) / size) * size
    too_many = (n >= n_filters) & (level != 1.0)
    # Whole groups go back until a filter is left.
    excess = np.ceil((n - n_filters + 1) / size) * size
    clipped: Array = np.clip(np.where(too_many, n - excess, n), 0.0, n_filters)
    return clipped
