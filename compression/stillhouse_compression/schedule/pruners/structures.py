"""Pruning of whole structures, ranked: by norm here, by other rankers elsewhere.

Depends on: torch, ranking.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stillhouse_compression.errors import shown
from stillhouse_compression.schedule.arguments import (
    FRACTION,
    ROUNDING,
    WEIGHTS,
    Argument,
    Arguments,
    ClassSpec,
    Shapes,
    anything,
    boolean,
    choice,
    default,
    given,
    integer,
    optional,
)
from stillhouse_compression.schedule.pruners.law import (
    GRADUAL_ARGUMENTS,
    Constant,
    Drawn,
    Gradual,
    Target,
    gradual_faults,
    gradual_window,
)
from stillhouse_compression.schedule.pruners.step import Cuts, MaskUpdate, PruningStep, Wish
from stillhouse_compression.schedule.ranking import GROUP_TYPES, Structure, keep_best, n_to_prune


@dataclass(frozen=True)
class Kept:
    """A ranker's verdict.

    Attributes:
        keep: Boolean (structures,), True = kept.
        scale: Factor of what is kept.
    """

    keep: Tensor
    scale: float = 1.0


class Ranker(Protocol):
    """Ranks the structures of one parameter, or of several that share a verdict."""

    @property
    def is_random(self) -> bool:
        """Whether it draws random numbers."""
        ...

    def rank(
        self, names: Sequence[str], fraction: float, structure: Structure, step: PruningStep
    ) -> Kept | None:
        """Which structures to keep; None when nothing is pruned (yet)."""
        ...


@dataclass(frozen=True)
class NormRanker:
    """Prunes the structures of the smallest norm.

    Attributes:
        p: 1 or 2.
        noise: Probability of shaking the scores by standard normal factors, so that now and
            then another structure goes.
        group_size: Structures are pruned in such numbers only.
        rounding: Of the number of structures.

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1 (L1).
    """

    p: int
    noise: float = 0.0
    group_size: int = 1
    rounding: Callable[[float], int] = ROUNDING["floor"]

    @property
    def is_random(self) -> bool:
        """With noise it draws."""
        return self.noise > 0

    def rank(
        self, names: Sequence[str], fraction: float, structure: Structure, step: PruningStep
    ) -> Kept | None:
        """Compare norms, summed over the parameters."""
        n_structures = structure.count(step.parameters[names[0]].shape)
        if structure.group_type == "Blocks":
            n = int(fraction * n_structures) // self.group_size * self.group_size
        else:
            n = n_to_prune(n_structures, fraction, self.group_size, self.rounding)
        while n >= n_structures and fraction != 1.0:
            n -= self.group_size
        if n <= 0:
            return None
        scores = structure.scores(step.weight(names[0]), self.p)
        for name in names[1:]:
            scores = scores + structure.scores(step.weight(name), self.p)
        if self.noise and random.uniform(0, 1) <= self.noise:
            # Drawn on the CPU: the same on every device, and the generator that is saved.
            scores = scores * torch.randn(scores.shape, dtype=scores.dtype).to(scores.device)
        keep = keep_best(scores, n)
        return None if keep is None else Kept(keep)


class StructurePruner:
    """Prunes whole structures to a target sparsity.

    Args:
        name: Instance name.
        weights: Parameter names; the first is the leader.
        structure: What a structure is.
        target: The sparsity, over the window.
        ranker: Which structures go first.
        dependency: ``Leader``: all take the leader's verdict, made when the target changes.
            ``Group``: all take one verdict on the scores summed over the members.
            None: each its own.
        mask_batchnorm: The BatchNorm behind a pruned filter is zeroed with it.
    """

    def __init__(
        self,
        name: str,
        weights: Sequence[str],
        structure: Structure,
        target: Target,
        ranker: Ranker,
        dependency: str | None = None,
        mask_batchnorm: bool = False,
    ) -> None:
        self.name = name
        self.weights = tuple(weights)
        self.structure = structure
        self.target = target
        self.ranker = ranker
        self.dependency = dependency
        self.mask_batchnorm = mask_batchnorm
        self.is_random = ranker.is_random or isinstance(target, Drawn)
        self.needs_gradients = bool(getattr(ranker, "needs_gradients", False))
        observed = getattr(ranker, "observes", None)
        self.wishes = tuple(Wish(weight, observed) for weight in weights) if observed else ()
        self._last_target: float | None = None
        self._leader: Kept | None = None

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.weights]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks of the structures that stay."""
        names = self.owns(step.parameters)
        shared: Kept | None = None
        if names and self.dependency is not None:
            fraction = self.target.sparsity(step.epoch, step.window)
            shared = self._follow(fraction, step) if self.dependency == "Leader" else None
            if self.dependency == "Group" and fraction > 0:
                shared = self.ranker.rank(names, fraction, self.structure, step)
        for name in names:
            verdict = shared
            if self.dependency is None:
                fraction = self.target.sparsity(step.epoch, step.window)
                if fraction > 0:
                    verdict = self.ranker.rank([name], fraction, self.structure, step)
            if verdict is not None:
                parameter = step.parameters[name]
                keep = verdict.keep.to(parameter.device)
                mask = self.structure.mask(keep, parameter.shape)
                filters = keep if self.structure.is_filters else None
                yield MaskUpdate(name, mask, verdict.scale, filters)

    def _follow(self, fraction: float, step: PruningStep) -> Kept | None:
        """The leader's verdict: kept while the target stays, as the original does."""
        leader = self.weights[0]
        n_structures = self.structure.count(step.parameters[leader].shape)
        is_stale = self._leader is not None and self._leader.keep.numel() != n_structures
        # Drawn at random, filters are drawn anew; noise shakes a ranking when it is made.
        is_drawn = self.ranker.is_random and not isinstance(self.ranker, NormRanker)
        if fraction != self._last_target or is_stale or is_drawn:
            self._last_target = fraction
            if fraction == 0:
                self._leader = None
            else:
                # The original ranks the leader by its stored weights, never folded ones.
                unfolded = replace(step, fold=None)
                self._leader = self.ranker.rank([leader], fraction, self.structure, unfolded)
                if unfolded.is_pending:
                    step.is_pending, self._last_target = True, None
        return self._leader

    def cut(self, cuts: Mapping[str, Cuts]) -> None:
        """Cut the leader's verdict as its structures were cut."""
        if self._leader is None:
            return
        axis = 0 if self.structure.is_filters else 1
        for dim, kept in cuts.get(self.weights[0], ()):
            if self.structure.group_type == "Blocks":
                # Blocks do not survive a cut; the next question ranks again.
                self._last_target = None
            elif dim == axis:
                keep = self._leader.keep.index_select(0, kept.to(self._leader.keep.device))
                self._leader = Kept(keep, self._leader.scale)

    def state_dict(self) -> dict[str, Any]:
        """The leader's verdict."""
        leader = self._leader
        return {
            "last_target": self._last_target,
            "leader": None if leader is None else leader.keep.clone(),
            "leader_scale": 1.0 if leader is None else leader.scale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the leader's verdict over."""
        keep = state["leader"]
        self._last_target = state["last_target"]
        self._leader = None if keep is None else Kept(keep, float(state["leader_scale"]))


# Arguments --------------------------------------------------------------------------------


DEPENDENCY = default("group_dependency", optional(choice("Leader", "Group")), None)
MASK_BATCHNORM = default("mask_batchnorm", boolean, False)
GROUP_SIZE = default("group_size", integer(1), 1)
NORM_ARGUMENTS: tuple[Argument, ...] = (
    given("group_type", choice(*GROUP_TYPES)),
    WEIGHTS,
    DEPENDENCY,
    default("kwargs", anything, None),
    default("noise", FRACTION, 0.0),
    GROUP_SIZE,
    default("rounding_fn", choice(*ROUNDING), "floor"),
    MASK_BATCHNORM,
)


def structure_of(arguments: Arguments) -> Structure:
    """The structure that checked arguments mean."""
    kwargs = arguments.get("kwargs") or {}
    block = kwargs.get("block_shape") if arguments["group_type"] == "Blocks" else None
    return Structure(arguments["group_type"], None if block is None else tuple(block))


def structure_faults(arguments: Arguments) -> Iterable[tuple[str, str]]:
    """Blocks need a shape; only filters have a BatchNorm behind them."""
    kwargs = arguments.get("kwargs")
    if arguments["group_type"] == "Blocks":
        block = kwargs.get("block_shape") if isinstance(kwargs, Mapping) else None
        is_shape = isinstance(block, list | tuple) and len(block) == 4 and _are_sizes(block)
        if not is_shape or list(block or ())[2:] != [1, 1]:
            wanted = "wanted block_shape: [repetitions, depth, 1, 1]"
            yield "kwargs", f"found {shown(kwargs)}, Blocks {wanted}"
    elif kwargs:
        yield "kwargs", f"found {shown(kwargs)}, only group_type Blocks takes any"
    if arguments.get("mask_batchnorm") and arguments["group_type"] not in ("Filters", "3D"):
        yield "mask_batchnorm", "only filters have a BatchNorm to mask with them"


def _are_sizes(values: Iterable[object]) -> bool:
    return all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values)


def structure_fits(arguments: Arguments, shapes: Shapes) -> Iterable[tuple[str, str]]:
    """Every parameter has such structures; members of a group have equally many."""
    structure = structure_of(arguments)
    counts: dict[str, int] = {}
    for name in arguments["weights"]:
        fault = structure.fault(name, shapes[name])
        if fault is not None:
            yield "weights", fault
        else:
            counts[name] = structure.count(shapes[name])
    if arguments.get("group_dependency") and len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
        yield "group_dependency", f"members must have equally many {structure.group_type}: {listed}"


def _ranker(p: int, arguments: Arguments) -> NormRanker:
    return NormRanker(
        p, arguments["noise"], arguments["group_size"], ROUNDING[arguments["rounding_fn"]]
    )


def pruner(name: str, arguments: Arguments, target: Target, ranker: Ranker) -> StructurePruner:
    """A structure pruner from checked arguments."""
    return StructurePruner(
        name,
        arguments["weights"],
        structure_of(arguments),
        target,
        ranker,
        arguments["group_dependency"],
        arguments["mask_batchnorm"],
    )


def one_shot(
    class_name: str, arguments: tuple[Argument, ...], ranker: Callable[[Arguments], Ranker]
) -> ClassSpec:
    """A class that prunes to ``desired_sparsity`` at once."""
    return ClassSpec(
        class_name,
        "pruners",
        (given("desired_sparsity", FRACTION), *arguments),
        lambda name, args, building: pruner(
            name, args, Constant(args["desired_sparsity"]), ranker(args)
        ),
        faults=structure_faults,
        fits=structure_fits,
    )


def gradual(
    class_name: str, arguments: tuple[Argument, ...], ranker: Callable[[Arguments], Ranker]
) -> ClassSpec:
    """The same with a sparsity that rises over the window."""
    return ClassSpec(
        f"{class_name}_AGP",
        "pruners",
        (*GRADUAL_ARGUMENTS, *arguments),
        lambda name, args, building: pruner(
            name, args, Gradual(args["initial_sparsity"], args["final_sparsity"]), ranker(args)
        ),
        faults=lambda args: (*gradual_faults(args), *structure_faults(args)),
        fits=structure_fits,
        window=gradual_window,
    )


def _l1(arguments: Arguments) -> Ranker:
    return _ranker(1, arguments)


def _l2(arguments: Arguments) -> Ranker:
    return _ranker(2, arguments)


CLASSES = tuple(
    make(class_name, NORM_ARGUMENTS, ranker)
    for class_name, ranker in (
        ("L1RankedStructureParameterPruner", _l1),
        ("L2RankedStructureParameterPruner", _l2),
    )
    for make in (one_shot, gradual)
)
