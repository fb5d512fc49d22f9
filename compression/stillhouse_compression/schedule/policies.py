"""The policies of a schedule: pruning, regularisation, extensions.

Depends on: torch, policy, masks, pruners.step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stillhouse_compression.dataflow import following_batchnorms
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.schedule.policy import LossComponent, Moment, Policy, PolicyLoss
from stillhouse_compression.schedule.pruners.step import MaskUpdate, Pruner, PruningStep

if TYPE_CHECKING:
    from stillhouse_compression.schedule.scheduler import CompressionScheduler


class PruningPolicy(Policy):
    """Asks a pruner for masks and applies them.

    Args:
        pruner: Chooses the masks.
        pruner_args: The policy's ``args`` (docs/schedules.md), all optional.
    """

    def __init__(self, pruner: Pruner, pruner_args: Mapping[str, Any] | None = None) -> None:
        args = dict(pruner_args or {})
        self.pruner = pruner
        self.levels: Mapping[str, float] | None = args.get("levels")
        self.frequency: int = args.get("mini_batch_pruning_frequency", 0)
        self.mask_on_forward_only: bool = args.get("mask_on_forward_only", False)
        self.use_double_copies: bool = args.get("use_double_copies", False)
        self.mask_gradients: bool = args.get("mask_gradients", False)
        self.discards_masks: bool = args.get("discard_masks_at_minibatch_end", False)
        self.keep_mask: bool = args.get("keep_mask", False)
        self.skip_first_minibatch: bool = args.get("skip_first_minibatch", False)
        self.fold_batchnorm: bool = args.get("fold_batchnorm", False)
        self.mask_batchnorm: bool = args.get("mask_batchnorm", False) or getattr(
            pruner, "mask_batchnorm", False
        )
        self._is_initialised = False
        self._is_pending = False
        self._batchnorms: dict[str, tuple[str, ...]] | None = None
        # Parameters that follow a pruned filter; they share the policy's flags.
        self._followers: set[str] = set()

    def on_epoch_begin(self, moment: Moment) -> None:
        """Make the epoch's masks; they act from the first minibatch on."""
        if self.levels is not None and hasattr(self.pruner, "levels"):
            self.pruner.levels = dict(self.levels)
        is_first = not self._is_initialised
        if is_first:
            self._is_initialised = True
            for name in self.pruner.owns(moment.parameters):
                self._flag(name, moment)
        if not (is_first and self.skip_first_minibatch):
            self._make_masks(moment)

    def on_minibatch_begin(self, moment: Moment) -> None:
        """Make masks again if it is time, then apply all masks."""
        position = moment.epoch * moment.n_minibatches + moment.minibatch
        is_due = self.frequency > 0 and moment.minibatch > 0 and position % self.frequency == 0
        is_first = self.skip_first_minibatch and position == 1
        if is_due or is_first or self._is_pending:
            self._make_masks(moment)
        for entry, parameter in moment.table.active(moment.parameters):
            if not entry.is_applied:
                entry.apply(parameter)

    def before_parameter_optimization(self, moment: Moment) -> None:
        """Bring back the unmasked weights of double copies."""
        for name, parameter in moment.parameters.items():
            if name in moment.table:
                moment.table[name].revert(parameter)

    def on_minibatch_end(self, moment: Moment) -> None:
        """Forget all masks, if the policy says so."""
        if self.discards_masks:
            for entry in moment.table.values():
                entry.set(None)

    def on_epoch_end(self, moment: Moment) -> None:
        """After the last active epoch: make the masks final, leave gradients alone."""
        if not moment.is_last_epoch:
            return
        if self._is_pending:
            raise CompressionError(
                f"pruner {self.pruner.name!r} never got the statistics it ranks by: train at "
                "least two minibatches an epoch, or start it an epoch later"
            )
        for name in (*self.pruner.owns(moment.parameters), *sorted(self._followers)):
            entry = moment.table.get(name)
            if entry is None or name not in moment.parameters:
                continue
            if self.keep_mask:
                entry.use_double_copies = False
                entry.mask_on_forward_only = False
                entry.zero(moment.parameters[name])
            entry.unhook_gradient()

    def state_dict(self) -> dict[str, Any]:
        """Whether flags were set, and on which following parameters."""
        return {"is_initialised": self._is_initialised, "followers": sorted(self._followers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it over."""
        self._is_initialised = bool(state["is_initialised"])
        self._followers = set(state["followers"])

    def _flag(self, name: str, moment: Moment) -> None:
        entry = moment.table[name]
        entry.use_double_copies = self.use_double_copies
        entry.mask_on_forward_only = self.mask_on_forward_only
        if self.mask_gradients:
            entry.hook_gradient(moment.parameters[name])

    @torch.no_grad()
    def _make_masks(self, moment: Moment) -> None:
        step = PruningStep(
            moment.epoch,
            moment.window,
            moment.model,
            moment.parameters,
            moment.table,
            moment.scheduler.statistics,
            moment.scheduler.activations,
            self._folding(moment) if self.fold_batchnorm else None,
        )
        for update in self.pruner.masks(step):
            moment.table[update.name].set(update.mask, update.scale)
            if update.weight is not None:
                moment.parameters[update.name].copy_(update.weight)
            if self.mask_batchnorm and update.filters is not None:
                self._mask_followers(update, update.filters, moment)
        self._is_pending = step.is_pending

    def _mask_followers(self, update: MaskUpdate, filters: Tensor, moment: Moment) -> None:
        """Zero gamma and beta with the filter; a bias without BatchNorm likewise."""
        module = update.name.rpartition(".")[0]
        batchnorms = self._following(moment.model).get(module, ())
        names = [f"{bn}.{kind}" for bn in batchnorms for kind in ("weight", "bias")]
        for name in names or [f"{module}.bias"]:
            if name in moment.table and name in moment.parameters:
                if name not in self._followers:
                    self._followers.add(name)
                    self._flag(name, moment)
                moment.table[name].set(filters)

    def _following(self, model: nn.Module) -> dict[str, tuple[str, ...]]:
        if self._batchnorms is None:
            self._batchnorms = following_batchnorms(model)
        return self._batchnorms

    def _folding(self, moment: Moment) -> Callable[[str, Tensor], Tensor]:
        modules = dict(moment.model.named_modules())
        following = self._following(moment.model)

        def fold(name: str, weight: Tensor) -> Tensor:
            """``weight`` times gamma / sqrt(variance + eps) of the BatchNorm behind it."""
            module, _, kind = name.rpartition(".")
            batchnorms = following.get(module, ())
            if kind != "weight" or len(batchnorms) != 1 or weight.dim() != 4:
                return weight
            batchnorm = modules[batchnorms[0]]
            if not isinstance(batchnorm, nn.BatchNorm2d) or batchnorm.running_var is None:
                return weight
            factor = 1.0 / torch.sqrt(batchnorm.running_var + batchnorm.eps)
            if batchnorm.weight is not None:
                factor = factor * batchnorm.weight.detach()
            return weight * factor.view(-1, 1, 1, 1)

        return fold


class Extension(Protocol):
    """Something else that acts during training, e.g. a remover of zeroed filters.

    It may also have ``state_dict()`` and ``load_state_dict(state)``.
    """

    def on_minibatch_begin(
        self,
        model: nn.Module,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        scheduler: CompressionScheduler,
        optimizer: Optimizer | None,
    ) -> None:
        """Before the forward pass of every minibatch of an active epoch."""
        ...


class ExtensionPolicy(Policy):
    """Runs an extension."""

    replaces_parameters = True

    def __init__(self, extension: Extension) -> None:
        self.extension = extension

    def on_minibatch_begin(self, moment: Moment) -> None:
        """Pass the call on."""
        self.extension.on_minibatch_begin(
            moment.model,
            moment.epoch,
            moment.minibatch,
            moment.n_minibatches,
            moment.scheduler,
            moment.optimizer,
        )

    def state_dict(self) -> dict[str, Any]:
        """The extension's state, if it has one."""
        ask = getattr(self.extension, "state_dict", None)
        return {} if ask is None else {"extension": ask()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back."""
        if "extension" in state:
            self.extension.load_state_dict(state["extension"])  # type: ignore[attr-defined]  # it gave one


class Regularizer(Protocol):
    """Adds a term to the loss; may also zero what has become small."""

    name: str
    has_threshold: bool

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The parameters it acts on, in the model's order."""
        ...

    def loss(self, name: str, parameter: Tensor) -> Tensor:
        """The term of one parameter."""
        ...

    def threshold(self, name: str, parameter: Tensor) -> Tensor | None:
        """Boolean mask of what is large enough to keep; None keeps all."""
        ...


@runtime_checkable
class WeightDropper(Protocol):
    """A regulariser that changes weights for one minibatch."""

    def before_forward(self, moment: Moment) -> None:
        """Change them."""
        ...

    def after_backward(self, moment: Moment) -> None:
        """Bring them back."""
        ...


class RegularizationPolicy(Policy):
    """Adds a regulariser's terms to the loss and zeroes what falls below its threshold.

    Args:
        regularizer: The regulariser.
        keep_mask: Keep the last threshold mask for good.
    """

    def __init__(self, regularizer: Regularizer, keep_mask: bool = False) -> None:
        self.regularizer = regularizer
        self.keep_mask = keep_mask

    def before_forward(self, moment: Moment) -> None:
        """Let the regulariser change weights for this minibatch, if it is of that kind."""
        if isinstance(self.regularizer, WeightDropper):
            self.regularizer.before_forward(moment)

    def before_parameter_optimization(self, moment: Moment) -> None:
        """Let it bring them back."""
        if isinstance(self.regularizer, WeightDropper):
            self.regularizer.after_backward(moment)

    def before_backward_pass(self, moment: Moment, loss: Tensor) -> PolicyLoss:
        """Add the terms."""
        penalty = torch.zeros((), device=loss.device, dtype=loss.dtype)
        for name in self.regularizer.owns(moment.parameters):
            penalty = penalty + self.regularizer.loss(name, moment.parameters[name])
        component = LossComponent(f"{type(self.regularizer).__name__}_loss", penalty)
        return PolicyLoss(loss + penalty, [component])

    @torch.no_grad()
    def on_minibatch_end(self, moment: Moment) -> None:
        """Zero groups below the threshold."""
        if not self.regularizer.has_threshold:
            return
        is_final = self.keep_mask and moment.is_last_epoch and moment.is_last_minibatch
        for name in self.regularizer.owns(moment.parameters):
            entry = moment.table[name]
            entry.set(self.regularizer.threshold(name, moment.parameters[name]))
            entry.is_regularization_mask = True
        if is_final:
            for entry in moment.table.values():
                entry.is_regularization_mask = False
        for entry, parameter in moment.table.active(moment.parameters):
            entry.apply(parameter, keep_copy=False)
