"""The algorithms that a sweep tries alone, each as a plain schedule for any set of layers.

Depends on: torch, sweep.layer_sets. What each class computes stands in docs/schedules.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import nn

from stillhouse_compression.sweep.layer_sets import Group

Domain: TypeAlias = Literal["element", "filter", "channel"]
Schedule: TypeAlias = dict[str, Any]

_INITIAL = 0.05  # of the gradual pruners: docs/templates.md begins there, too
_LASSO = 0.01


@dataclass(frozen=True)
class Algorithm:
    """One way to prune.

    Attributes:
        name: As in a sweep's plan.
        domain: What goes: single weights, filters, or input channels.
        parameter: What its level is.
        levels: The preselected ones, weakest first.
        bounds: Least and largest level that makes sense.
        write: Gives sections ``pruners``, ``regularizers`` and ``policies`` for groups of layers,
            a level and the number of epochs under the schedule.
        is_control: It ranks by nothing at all: what it reaches, any ranking must beat.
        takes_coupled: Whether layers that must lose the same filters can be told so.
        reads_weights: Whether its schedule hangs on the dense network's weights.
    """

    name: str
    domain: Domain
    parameter: str
    levels: tuple[float, ...]
    bounds: tuple[float, float]
    write: Callable[[Sequence[Group], float, int, nn.Module], Schedule]
    is_control: bool = False
    takes_coupled: bool = True
    reads_weights: bool = False

    def schedule(
        self, groups: Sequence[Group], level: float, epochs: int, model: nn.Module
    ) -> Schedule:
        """Write the plain schedule.

        Args:
            groups: What is pruned; layers of one group get one verdict.
            level: Within `bounds`.
            epochs: Under the schedule, at least 2: a gradual pruner needs a first and a last.
            model: The dense network, with its trained weights where `reads_weights`.
        """
        return {"version": 1, **self.write(groups, level, epochs, model)}


def _window(epochs: int) -> dict[str, int]:
    return {"starting_epoch": 0, "ending_epoch": epochs, "frequency": 1}


def _names(groups: Sequence[Group]) -> list[str]:
    return [weight for group in groups for weight in group.weights]


def _gradual(level: float) -> dict[str, float]:
    # A pruner that begins above where it ends is refused.
    return {"initial_sparsity": min(_INITIAL, level / 2), "final_sparsity": level}


def _one_pruner(
    pruner: Mapping[str, Any], epochs: int, args: Mapping[str, Any] | None = None
) -> Schedule:
    named: dict[str, Any] = {"instance_name": "pruner"}
    if args:
        named["args"] = dict(args)
    policy = {"pruner": named, **_window(epochs)}
    return {"pruners": {"pruner": dict(pruner)}, "policies": [policy]}


def _agp(groups: Sequence[Group], level: float, epochs: int, _: nn.Module) -> Schedule:
    pruner = {"class": "AutomatedGradualPruner", **_gradual(level), "weights": _names(groups)}
    return _one_pruner(pruner, epochs)


def _level(groups: Sequence[Group], level: float, epochs: int, _: nn.Module) -> Schedule:
    levels = dict.fromkeys(_names(groups), level)
    return _one_pruner({"class": "SparsityLevelParameterPruner", "levels": levels}, epochs)


def _sensitivity(groups: Sequence[Group], level: float, epochs: int, _: nn.Module) -> Schedule:
    found = dict.fromkeys(_names(groups), level)
    return _one_pruner({"class": "SensitivityPruner", "sensitivities": found}, epochs)


def _splicing(groups: Sequence[Group], level: float, epochs: int, _: nn.Module) -> Schedule:
    pruner = {
        "class": "SplicingPruner",
        "sensitivities": dict.fromkeys(_names(groups), level),
        "low_thresh_mult": 0.9,
        "hi_thresh_mult": 1.1,
    }
    # Spliced weights can come back only where they go on learning behind their mask.
    args = {"mask_on_forward_only": True, "keep_mask": True, "mini_batch_pruning_frequency": 8}
    return _one_pruner(pruner, epochs, args)


def _ranked(
    name: str, group_type: str
) -> Callable[[Sequence[Group], float, int, nn.Module], Schedule]:
    """Rank structures: single layers by one pruner, each coupled group by one of its own."""

    def write(groups: Sequence[Group], level: float, epochs: int, _: nn.Module) -> Schedule:
        common: dict[str, Any] = {"class": name, "group_type": group_type, **_gradual(level)}
        if group_type == "Filters":
            common["mask_batchnorm"] = True
        free = [group for group in groups if not group.is_coupled]
        pruners: dict[str, Any] = {}
        if free:
            pruners["single"] = {**common, "weights": _names(free)}
        for number, group in enumerate((g for g in groups if g.is_coupled), start=1):
            pruners[f"coupled{number}"] = {
                **common,
                "group_dependency": "Group",
                "weights": list(group.weights),
            }
        policies = [{"pruner": {"instance_name": one}, **_window(epochs)} for one in pruners]
        return {"pruners": pruners, "policies": policies}

    return write


def _lasso(groups: Sequence[Group], level: float, epochs: int, model: nn.Module) -> Schedule:
    """Shrink filters by group lasso; in the last epoch those below a threshold go.

    A layer's threshold is the level-quantile of its dense filters' mean magnitudes: the lasso
    pushes more below it, and training lifts some above.
    """
    names = _names(groups)
    thresholds = {
        name: float(model.get_parameter(name).detach().abs().flatten(1).mean(1).quantile(level))
        for name in names
    }
    return {
        "regularizers": {
            "lasso": {
                "class": "GroupLassoRegularizer",
                "reg_regims": {name: [_LASSO, "Filters"] for name in names},
            }
        },
        "pruners": {
            "threshold": {
                "class": "StructureParameterPruner",
                "reg_regims": {name: [thresholds[name], "Filters"] for name in names},
                "threshold_criteria": "Mean_Abs",
            }
        },
        "policies": [
            {"regularizer": {"instance_name": "lasso"}, **_window(epochs)},
            {"pruner": {"instance_name": "threshold"}, "epochs": [epochs - 1]},
        ],
    }


_SHARES = (0.0, 1.0)
_MULTIPLES = (0.0, 10.0)
_STRUCTURES = (0.25, 0.5, 0.75)

ALGORITHMS: Mapping[str, Algorithm] = {
    one.name: one
    for one in (
        Algorithm("element_agp", "element", "final sparsity", (0.5, 0.8, 0.95), _SHARES, _agp),
        Algorithm("element_level", "element", "sparsity", (0.5, 0.8, 0.95), _SHARES, _level),
        Algorithm(
            "element_sensitivity",
            "element",
            "threshold in standard deviations",
            (0.5, 1.0),
            _MULTIPLES,
            _sensitivity,
        ),
        Algorithm(
            "element_splicing",
            "element",
            "threshold in standard deviations",
            (0.5, 1.0),
            _MULTIPLES,
            _splicing,
        ),
        Algorithm(
            "filters_l1",
            "filter",
            "share of filters",
            _STRUCTURES,
            _SHARES,
            _ranked("L1RankedStructureParameterPruner_AGP", "Filters"),
        ),
        Algorithm(
            "filters_l2",
            "filter",
            "share of filters",
            _STRUCTURES,
            _SHARES,
            _ranked("L2RankedStructureParameterPruner_AGP", "Filters"),
        ),
        Algorithm(
            "filters_apoz",
            "filter",
            "share of filters",
            _STRUCTURES,
            _SHARES,
            _ranked("ActivationAPoZRankedFilterPruner_AGP", "Filters"),
            takes_coupled=False,  # each member has activations of its own
        ),
        Algorithm(
            "filters_lasso",
            "filter",
            "share of filters below the threshold before",
            (0.25, 0.5),
            _SHARES,
            _lasso,
            takes_coupled=False,  # a threshold has its own verdict on each layer
            reads_weights=True,
        ),
        Algorithm(
            "channels_l1",
            "channel",
            "share of input channels",
            _STRUCTURES,
            _SHARES,
            _ranked("L1RankedStructureParameterPruner_AGP", "Channels"),
        ),
        Algorithm(
            "filters_random",
            "filter",
            "share of filters",
            _STRUCTURES,
            _SHARES,
            _ranked("RandomRankedFilterPruner_AGP", "Filters"),
            is_control=True,
        ),
    )
}
