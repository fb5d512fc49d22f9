"""The schedule language a second time: plain, slow, in NumPy, sharing no code with the engine.

Written from its description in docs/schedules.md and that of the original; test_second_engine.py
runs random schedules through both. Depends on: numpy, torch (for the parameters and gradients).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]
AXES = {
    "2D": (2, 3),
    "3D": (1, 2, 3),
    "Filters": (1, 2, 3),
    "Channels": (0, 2, 3),
    "4D": (0, 1, 2, 3),
    "Rows": (1,),
    "Cols": (0,),
}


def gradual(spec: Any, epoch: int, policy: Any) -> float:
    """The cubic law: initial in the first active epoch, final in the last."""
    span = ((policy["end"] - policy["start"] - 1) // policy["step"]) * policy["step"]
    low, high = spec["initial_sparsity"], spec["final_sparsity"]
    rate: float = high + (low - high) * (1 - (epoch - policy["start"]) / span) ** 3
    return rate


def level(weight: Array, sparsity: float) -> Array | None:
    """Keep what is above the k-th smallest magnitude; None where k is 0."""
    k = int(sparsity * weight.size)
    if k == 0:
        return None
    keep: Array = np.abs(weight) > np.sort(np.abs(weight).ravel())[k - 1]
    return keep


def block_view(shape: tuple[int, ...], block: Any) -> tuple[int, int, int]:
    """Blocks lie along the middle axis of this view."""
    repetitions, depth = block[:2]
    filters, channels, height, width = shape
    if depth > 1:
        size = repetitions * depth
        return filters * channels // size, size, height * width
    return filters // repetitions, repetitions, channels * height * width


def scores(weight: Array, group: str, p: int, block: Any) -> Array:
    """Mean L1, or L2 over the size, of each filter or channel; the plain norm of each block."""
    axis = 0 if group in ("Filters", "3D") else 1
    rows: Array = np.moveaxis(weight.astype(np.float64), axis, 0)
    if group == "Blocks":
        rows = np.moveaxis(weight.astype(np.float64).reshape(block_view(weight.shape, block)), 1, 2)
        rows = rows.reshape(-1, rows.shape[2])
    rows = rows.reshape(len(rows), -1)
    norms: Array = np.abs(rows).sum(1) if p == 1 else np.sqrt(np.square(rows).sum(1))
    return norms if group == "Blocks" else norms / rows.shape[1]


def rank(found: Array, spec: Any, sparsity: float) -> Array | None:
    """Keep the structures above the n-th smallest score; None where none is pruned."""
    n = math.floor(sparsity * len(found))
    if spec["group_type"] != "Blocks":
        size = spec.get("group_size", 1)
        n = n // size * size
        if n == len(found) and sparsity != 1.0:
            n -= size
    return None if n <= 0 else found > np.sort(found)[n - 1]


def spread(keep: Array, shape: tuple[int, ...], spec: Any) -> Array:
    """A mask of structures as one of elements."""
    if spec["group_type"] == "Blocks":
        view = block_view(shape, spec["kwargs"]["block_shape"])
        whole = np.broadcast_to(keep.reshape(view[0], 1, view[2]), view)
        return np.ascontiguousarray(whole).reshape(shape)
    axis = 0 if spec["group_type"] in ("Filters", "3D") else 1
    sizes = [-1 if dim == axis else 1 for dim in range(len(shape))]
    return np.broadcast_to(keep.reshape(sizes), shape).copy()


def groups_above(weight: Array, group: str, threshold: float, criterion: str) -> Array:
    """Keep the groups whose largest or mean magnitude is above a threshold."""
    magnitudes = np.abs(weight).astype(np.float64)
    if criterion == "Max":
        found = magnitudes.max(axis=AXES[group], keepdims=True)
    else:
        # As measured on the original: rows over their number, columns over theirs.
        size = {"Rows": weight.shape[0], "Cols": weight.shape[-1]}.get(group)
        size = size or math.prod(weight.shape[axis] for axis in AXES[group])
        found = magnitudes.sum(axis=AXES[group], keepdims=True) / size
    return np.broadcast_to(found > threshold, weight.shape).copy()


class Masker:
    """The mask of one parameter and its flags."""

    def __init__(self) -> None:
        self.mask: Array | None = None
        self.is_regularisation = self.has_copies = self.is_forward_only = False
        self.copy: Tensor | None = None
        self.hook: Any = None

    def zero(self, parameter: Tensor) -> None:
        if self.mask is not None:
            parameter.data.mul_(torch.from_numpy(self.mask))

    def apply(self, parameter: Tensor, stashes: bool = True) -> None:
        if self.mask is None:
            return
        if self.has_copies and stashes and self.copy is None:
            self.copy = parameter.detach().clone()
        self.zero(parameter)
        if self.is_regularisation:
            self.mask = None

    def masked(self, gradient: Tensor) -> Tensor:
        return gradient if self.mask is None else gradient * torch.from_numpy(self.mask)


class SecondEngine:
    """Runs a schedule; ``batchnorms`` names the BatchNorm behind each convolution's weight."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Mapping[str, Any],
        batchnorms: Mapping[str, str],
    ) -> None:
        self.model, self.optimizer, self.batchnorms = model, optimizer, batchnorms
        self.maskers = {name: Masker() for name, _ in model.named_parameters()}
        self.seen: dict[tuple[str, str], float] = {}
        self.specs = {
            kind: {name: dict(spec) for name, spec in schedule.get(f"{kind}s", {}).items()}
            for kind in ("pruner", "regularizer", "lr_scheduler")
        }
        self.base = [group["lr"] for group in optimizer.param_groups]
        entries = sorted(schedule["policies"], key=lambda entry: "lr_scheduler" in entry)
        self.policies = [self._policy(entry) for entry in entries]

    def _policy(self, entry: Any) -> Any:
        kind = next(kind for kind in self.specs if kind in entry)
        start, step = entry.get("starting_epoch"), entry.get("frequency")
        active = entry.get("epochs") or range(start, entry["ending_epoch"], step)
        return {
            "kind": kind,
            "spec": self.specs[kind][entry[kind]["instance_name"]],
            "args": entry[kind].get("args") or {},
            "active": set(active),
            "last": max(active),
            "start": active[0],
            "end": entry.get("ending_epoch"),
            "step": step,
            "is_new": True,
        }

    def acting(self, epoch: int, kind: str) -> list[Any]:
        return [p for p in self.policies if epoch in p["active"] and p["kind"] == kind]

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def owned(self, spec: Any) -> list[str]:
        names = list(self.maskers)
        if spec["class"] == "MagnitudeParameterPruner":
            return names
        for key in ("levels", "sensitivities", "reg_regims", "weights"):
            if key in spec:
                star = "*" in spec[key]
                found = [name for name in names if star or name in spec[key]]
        if "levels" in spec:
            star_level = spec["levels"].get("*", 0)
            return [name for name in found if spec["levels"].get(name, star_level) > 0]
        return found

    def folded(self, name: str, weight: Array) -> Array:
        if name not in self.batchnorms:
            return weight
        norm: Any = self.model.get_submodule(self.batchnorms[name])
        factor = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        whole: Array = weight * factor.numpy().reshape(-1, 1, 1, 1)
        return whole

    def figure(self, kind: str, name: str, values: Array, is_folded: bool) -> float:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        now = float(tensor.mean() if kind == "mean of magnitudes" else tensor.std())
        return now if is_folded else self.seen.setdefault((kind, name), now)

    def make_masks(self, policy: Any, epoch: int) -> None:
        spec, parameters = policy["spec"], self.parameters()
        weights = {name: p.detach().numpy() for name, p in parameters.items()}
        if policy["args"].get("fold_batchnorm"):
            ranked = {name: self.folded(name, weight) for name, weight in weights.items()}
        else:
            ranked = weights
        for name in self.owned(spec):
            is_folded = ranked[name] is not weights[name]
            mask = self.mask(name, policy, epoch, ranked, weights, is_folded)
            if mask is not None:
                self.maskers[name].mask = mask

    def mask(
        self,
        name: str,
        policy: Any,
        epoch: int,
        ranked: dict[str, Array],
        weights: dict[str, Array],
        is_folded: bool,
    ) -> Array | None:
        spec, kind, weight = policy["spec"], policy["spec"]["class"], ranked[name]
        if kind == "SparsityLevelParameterPruner":
            return level(weight, spec["levels"].get(name, spec["levels"].get("*", 0)))
        if kind == "AutomatedGradualPruner":
            return level(weight, gradual(spec, epoch, policy))
        if kind == "MagnitudeParameterPruner":
            threshold = spec["thresholds"].get(name, spec["thresholds"]["*"])
        elif kind == "SensitivityPruner":
            multiple = spec["sensitivities"].get(name, spec["sensitivities"].get("*"))
            threshold = multiple * self.figure("deviation", name, weight, is_folded)
        elif kind == "BaiduRNNPruner":
            threshold = self.ramp(spec, epoch, policy)
        elif kind == "SplicingPruner":
            return self.spliced(name, policy, epoch, np.abs(weight), is_folded)
        elif kind == "StructureParameterPruner":
            limit, group = spec["reg_regims"][name]
            return groups_above(weight, group, limit, spec["threshold_criteria"])
        else:
            return self.ranked(name, policy, epoch, ranked, weights)
        keep: Array = np.abs(weight) > np.float32(threshold)
        return keep

    def ramp(self, spec: Any, epoch: int, policy: Any) -> float:
        start, end, step = policy["start"], policy["end"], policy["step"]
        bend = start + spec["ramp_epoch_offset"]
        length = 2 * (bend - start) + 3 * (end - bend)
        slope = spec.setdefault("_slope", 2 * spec["q"] * step / length)
        if epoch < bend:
            return float(slope * (epoch - start + 1) / step)
        second = slope * spec["ramp_slope_mult"] * (epoch - bend + 1)
        return float((slope * (bend - start + 1) + second) / step)

    def spliced(
        self, name: str, policy: Any, epoch: int, magnitude: Array, is_folded: bool
    ) -> Array:
        spec = policy["spec"]
        multiple = spec["sensitivities"].get(name, spec["sensitivities"].get("*"))
        growth = spec.get("sensitivity_multiplier", 0)
        if growth > 0:
            multiple *= (epoch - policy["start"]) * growth + 1
        mean = self.figure("mean of magnitudes", name, magnitude, is_folded)
        deviation = self.figure("deviation of magnitudes", name, magnitude, is_folded)
        middle = mean + deviation * multiple
        before = self.maskers[name].mask
        mask = np.ones(magnitude.shape, bool) if before is None else before.copy()
        mask[np.float32(middle * spec["low_thresh_mult"]) > magnitude] = False
        mask[magnitude >= np.float32(middle * spec["hi_thresh_mult"])] = True
        return mask

    def ranked(
        self,
        name: str,
        policy: Any,
        epoch: int,
        ranked: dict[str, Array],
        weights: dict[str, Array],
    ) -> Array | None:
        spec = policy["spec"]
        is_gradual = spec["class"].endswith("_AGP")
        sparsity = gradual(spec, epoch, policy) if is_gradual else spec["desired_sparsity"]
        block = (spec.get("kwargs") or {}).get("block_shape")

        def scored(weight: Array) -> Array:
            return scores(weight, spec["group_type"], int(spec["class"][1]), block)

        dependency = spec.get("group_dependency")
        if dependency == "Leader":
            # Ranked anew only when the target changes, by what is stored, not by what is folded.
            if spec.get("_target") != sparsity:
                spec["_target"] = sparsity
                spec["_keep"] = rank(scored(weights[spec["weights"][0]]), spec, sparsity)
            keep = spec["_keep"]
        elif dependency == "Group":
            keep = rank(np.sum([scored(ranked[one]) for one in spec["weights"]], 0), spec, sparsity)
        else:
            keep = rank(scored(ranked[name]), spec, sparsity)
        return None if keep is None else spread(keep, ranked[name].shape, spec)

    # Callbacks --------------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int) -> None:
        for policy in self.acting(epoch, "pruner"):
            args, was_new = policy["args"], policy["is_new"]
            if args.get("levels") is not None:
                policy["spec"]["levels"] = args["levels"]
            policy["is_new"] = False
            for name in self.owned(policy["spec"]) if was_new else ():
                masker = self.maskers[name]
                masker.has_copies = args.get("use_double_copies", False)
                masker.is_forward_only = args.get("mask_on_forward_only", False)
                if args.get("mask_gradients"):
                    if masker.hook is not None:
                        masker.hook.remove()
                    hooked: Any = self.parameters()[name]
                    masker.hook = hooked.register_hook(masker.masked)
            if not (was_new and args.get("skip_first_minibatch")):
                self.make_masks(policy, epoch)

    def on_minibatch_begin(self, epoch: int, i: int, n: int) -> None:
        position = epoch * n + i
        for policy in self.acting(epoch, "pruner"):
            every = policy["args"].get("mini_batch_pruning_frequency", 0)
            is_late = policy["args"].get("skip_first_minibatch") and position == 1
            if is_late or (every and i > 0 and position % every == 0):
                self.make_masks(policy, epoch)
            for name, parameter in self.parameters().items():
                self.maskers[name].apply(parameter)

    def loss(self, epoch: int, loss: Tensor) -> tuple[Tensor, list[tuple[str, float]]]:
        components = []
        for policy in self.acting(epoch, "regularizer"):
            spec = policy["spec"]
            terms = [
                self.penalty(spec["class"], self.parameters()[name], spec["reg_regims"][name])
                for name in self.owned(spec)
            ]
            total = sum(terms, torch.zeros(()))
            loss = loss + total
            components.append((f"{spec['class']}_loss", total.item()))
        return loss, components

    def penalty(self, kind: str, weight: Tensor, regime: Any) -> Tensor:
        term: Tensor
        if kind == "L1Regularizer":
            term = weight.abs().sum() * regime
            return term
        strength, group = regime
        channels = (weight.pow(2).sum((0, *range(2, weight.dim()))) + 1e-8).sqrt()
        if kind == "GroupVarianceRegularizer":
            term = strength / channels.var()
        elif group == "Channels":
            term = channels.sum() * strength
        else:
            both = [
                torch.linalg.vector_norm(weight, 2, AXES[one]).sum() for one in group.split("+")
            ]
            term = sum(both, torch.zeros(())) * strength
        return term

    def before_parameter_optimization(self, epoch: int) -> None:
        if self.acting(epoch, "pruner"):
            for name, parameter in self.parameters().items():
                masker = self.maskers[name]
                if masker.copy is not None:
                    parameter.data.copy_(masker.copy)
                    masker.copy = None

    def on_minibatch_end(self, epoch: int, i: int, n: int) -> None:
        for name, parameter in self.parameters().items():
            if not self.maskers[name].is_forward_only:
                self.maskers[name].zero(parameter)
        for policy in self.policies:
            if epoch not in policy["active"]:
                continue
            if policy["args"].get("discard_masks_at_minibatch_end"):
                for masker in self.maskers.values():
                    masker.mask = None
            if policy["kind"] == "regularizer" and policy["spec"].get("threshold_criteria"):
                is_kept = policy["args"].get("keep_mask")
                self.threshold(policy["spec"], is_kept and i == n - 1 and epoch == policy["last"])

    def threshold(self, spec: Any, is_final: bool) -> None:
        owned = self.owned(spec)
        for name, parameter in self.parameters().items():
            masker, weight = self.maskers[name], parameter.detach().numpy()
            if name in owned:
                regime = spec["reg_regims"][name]
                if spec["class"] == "L1Regularizer":
                    masker.mask = np.abs(weight) > np.float32(regime)
                else:
                    mask = groups_above(weight, regime[1], regime[0], spec["threshold_criteria"])
                    masker.mask = None if regime[1] == "4D" and mask.all() else mask
                masker.is_regularisation = True
            if is_final:
                masker.is_regularisation = False
            masker.apply(parameter, stashes=False)

    def on_epoch_end(self, epoch: int) -> None:
        for policy in self.acting(epoch, "pruner"):
            if epoch != policy["last"]:
                continue
            for name in self.owned(policy["spec"]):
                masker = self.maskers[name]
                if policy["args"].get("keep_mask"):
                    masker.has_copies = masker.is_forward_only = False
                    masker.zero(self.parameters()[name])
                if masker.hook is not None:
                    masker.hook.remove()
                    masker.hook = None
        for policy in self.acting(epoch, "lr_scheduler"):
            for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
                group["lr"] = base * self.factor(policy["spec"], epoch + 1)

    def factor(self, spec: Any, epoch: int) -> float:
        """The rate of an absolute epoch over the first one."""
        gamma = spec.get("gamma", 0.1)
        factors: Mapping[str, Callable[[], float]] = {
            "StepLR": lambda: gamma ** (epoch // spec["step_size"]),
            "MultiStepLR": lambda: gamma ** sum(m <= epoch for m in spec["milestones"]),
            "ExponentialLR": lambda: gamma**epoch,
            "PolynomialLR": lambda: (1 - epoch / spec["T_max"]) ** spec["power"],
            "CosineAnnealingLR": lambda: (1 + math.cos(math.pi * epoch / spec["T_max"])) / 2,
            "MultiStepMultiGammaLR": lambda: math.prod(
                factor
                for milestone, factor in zip(spec["milestones"], spec["gammas"], strict=True)
                if milestone <= epoch
            ),
        }
        return float(factors[spec["class"]]())
