"""Runs a schedule's policies as training goes on.

Depends on: torch, policies, masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.schedule.generators import random_state, set_random_state
from stillhouse_compression.schedule.masks import MaskTable
from stillhouse_compression.schedule.names import canonical
from stillhouse_compression.schedule.observation import ObservationPolicy
from stillhouse_compression.schedule.policy import LossComponent, Moment, Policy, PolicyLoss
from stillhouse_compression.schedule.pruners.step import Cuts, Wish
from stillhouse_compression.schedule.window import ALWAYS, Window

STATE_VERSION = 1


class CompressionScheduler:
    """Calls each policy in its active epochs and keeps the masks.

    Call, in this order: ``on_epoch_begin``; for every minibatch ``on_minibatch_begin``,
    forward pass and loss, ``before_backward_pass`` (back-propagate the loss it returns),
    ``before_parameter_optimization``, the optimizer's step, ``on_minibatch_end``; then
    validation; then ``on_epoch_end``.

    Args:
        model: The network. Its parameters are looked up by name at every call, because
            thinning replaces them.
        device: Accepted as in the original; masks live where their parameters live.

    Attributes:
        statistics: Figures of weights as they were first seen.
        activations: Channel statistics of the last epoch, for rankers that need them.
        optimizer: Stands in where a callback is not given one: thinning must reach it.
        warnings: What ``strict=False`` tolerated.
    """

    def __init__(self, model: nn.Module, device: torch.device | str | None = None) -> None:
        self.model = model
        self.zeros_mask_dict = MaskTable.of(model)
        self.statistics: dict[str, float] = {}
        self.activations: dict[str, Tensor] = {}
        self.optimizer: Optimizer | None = None
        self.warnings: tuple[str, ...] = ()
        self._policies: list[tuple[Policy, Window]] = []
        self._stateful: dict[str, Any] = {}
        self._is_random = False
        self._gradients_of: set[str] = set()

    # Set up -----------------------------------------------------------------------------

    def add_policy(
        self,
        policy: Policy,
        epochs: Sequence[int] | None = None,
        starting_epoch: int = 0,
        ending_epoch: int = 1,
        frequency: int = 1,
    ) -> None:
        """Add a policy; those of one epoch run in the order they were added.

        Args:
            policy: What to run.
            epochs: When, as a list; or
            starting_epoch: first epoch,
            ending_epoch: one past the last, and
            frequency: step between active epochs.

        Raises:
            CompressionError: The window is empty or turned round.
        """
        if epochs is not None:
            if not epochs:
                raise CompressionError("a policy needs at least one epoch, got an empty list")
            window = Window.of_epochs(list(epochs))
        else:
            if not 0 <= starting_epoch < ending_epoch or not (
                0 < frequency <= ending_epoch - starting_epoch
            ):
                raise CompressionError(
                    "a policy's window needs 0 <= starting_epoch < ending_epoch and "
                    "0 < frequency <= ending_epoch - starting_epoch, got "
                    f"{starting_epoch=}, {ending_epoch=}, {frequency=}"
                )
            window = Window(starting_epoch, ending_epoch, frequency)
        component = getattr(policy, "pruner", getattr(policy, "regularizer", None))
        if not any(component is known for known in self._stateful.values()):
            self.keep(f"policies[{len(self._policies)}]", component)
            if wishes := getattr(component, "wishes", ()):
                self.observe(wishes)
        self.add_windowed(policy, window)

    def add_windowed(self, policy: Policy, window: Window) -> None:
        """Add a policy with a window made elsewhere."""
        self._policies.append((policy, window))

    def keep(self, key: str, component: Any) -> None:
        """Save what a pruner or regulariser remembers, ranks by and draws from, as ``key``."""
        if hasattr(component, "state_dict"):
            self._stateful[key] = component
        if getattr(component, "needs_gradients", False):
            self._gradients_of.update(component.weights)
        if getattr(component, "is_random", False):
            self._is_random = True

    def observe(self, wishes: Iterable[Wish]) -> None:
        """Gather statistics of activations in every epoch, for the policies added afterwards."""
        self.add_windowed(ObservationPolicy(wishes), ALWAYS)

    # What others read ---------------------------------------------------------------------

    @property
    def masks(self) -> dict[str, Tensor | None]:
        """Parameter name -> its current mask (boolean, True = kept), or None."""
        return {name: entry.mask for name, entry in self.zeros_mask_dict.items()}

    @property
    def mask_scales(self) -> dict[str, float]:
        """Parameter name -> factor of its kept weights; 1 but for Bernoulli pruners."""
        return {name: entry.scale for name, entry in self.zeros_mask_dict.items()}

    # Callbacks ----------------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int, optimizer: Optimizer | None = None, **kwargs: Any) -> None:
        """Before an epoch's first minibatch."""
        for policy, moment in self._moments(epoch, optimizer=optimizer):
            policy.on_epoch_begin(moment)

    def on_minibatch_begin(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Before a minibatch's forward pass: masks act on the weights."""
        self.zeros_mask_dict.begin()
        for policy, moment in self._moments(epoch, minibatch_id, minibatches_per_epoch, optimizer):
            policy.on_minibatch_begin(moment)
        for policy, moment in self._moments(epoch, minibatch_id, minibatches_per_epoch, optimizer):
            policy.before_forward(moment)

    def before_backward_pass(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        loss: Tensor,
        optimizer: Optimizer | None = None,
        return_loss_components: bool = True,
    ) -> PolicyLoss:
        """After the loss, before the backward pass.

        Returns:
            ``(overall_loss, loss_components)``: the loss to back-propagate and the terms that
            policies added. It answers to ``backward()`` and ``item()`` as well, so that a
            loop which treats it as the loss works unchanged.
        """
        overall = loss
        components: list[LossComponent] = []
        for policy, moment in self._moments(epoch, minibatch_id, minibatches_per_epoch, optimizer):
            answer = policy.before_backward_pass(moment, overall)
            if answer is not None:
                overall = answer.overall_loss
                components += answer.loss_components
        return PolicyLoss(overall, components)

    def before_parameter_optimization(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: Optimizer | None = None,
    ) -> None:
        """After the backward pass, before the optimizer's step."""
        for policy, moment in self._moments(epoch, minibatch_id, minibatches_per_epoch, optimizer):
            policy.before_parameter_optimization(moment)

    def on_minibatch_end(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: Optimizer | None = None,
    ) -> None:
        """After the optimizer's step: masks act again, in every epoch."""
        self.mask_all_weights(is_forward=False)
        for policy, moment in self._moments(epoch, minibatch_id, minibatches_per_epoch, optimizer):
            policy.on_minibatch_end(moment)

    def on_epoch_end(
        self,
        epoch: int,
        optimizer: Optimizer | None = None,
        metrics: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """After the epoch's validation.

        Args:
            epoch: The epoch that ended.
            optimizer: The optimizer.
            metrics: ``{"min": validation loss, "max": top1}``, for ReduceLROnPlateau.
            kwargs: Ignored.
        """
        for policy, moment in self._moments(epoch, optimizer=optimizer, metrics=metrics):
            policy.on_epoch_end(moment)

    def mask_all_weights(self, is_forward: bool = True) -> None:
        """Zero all masked weights, those masked on the forward pass only if ``is_forward``."""
        for entry, parameter in self.zeros_mask_dict.active(dict(self.model.named_parameters())):
            if is_forward or not entry.mask_on_forward_only:
                entry.zero(parameter)

    def _moments(
        self,
        epoch: int,
        minibatch: int = 0,
        n_minibatches: int = 0,
        optimizer: Optimizer | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Iterator[tuple[Policy, Moment]]:
        """Each active policy with its moment; parameters are looked up again once replaced."""
        parameters: dict[str, nn.Parameter] | None = None
        for policy, window in self._policies:
            if window.is_active(epoch):
                if parameters is None:
                    parameters = dict(self.model.named_parameters())
                yield (
                    policy,
                    Moment(
                        self,
                        self.model,
                        parameters,
                        self.zeros_mask_dict,
                        window,
                        epoch,
                        minibatch,
                        n_minibatches,
                        optimizer or self.optimizer,
                        metrics,
                    ),
                )
                if policy.replaces_parameters:
                    parameters = None

    # Thinning -----------------------------------------------------------------------------

    def on_parameters_cut(self, cuts: Mapping[str, Cuts]) -> None:
        """Cut masks and remembered state as a thinning has cut parameters.

        To be called after the parameters were replaced in the model.

        Args:
            cuts: Parameter name -> for each dimension that was cut, (dimension, int64 indices
                that stayed, ascending). A parameter that is gone is left out.
        """
        parameters = dict(self.model.named_parameters())
        for name, cut in cuts.items():
            entry = self.zeros_mask_dict.get(name)
            if entry is None:
                raise CompressionError(f"no parameter {name!r} in the scheduler's mask table")
            entry.cut(cut)
            if entry.masks_gradient and name in parameters:
                entry.hook_gradient(parameters[name])
        for component in self._stateful.values():
            cut_component: Callable[[Mapping[str, Cuts]], None] | None = getattr(
                component, "cut", None
            )
            if cut_component is not None:
                cut_component(cuts)
        for key in list(self.activations):
            name, _, kind = key.rpartition("/")
            if name in cuts and kind == "inputs":
                # What the layer saw has other columns now; it is sampled anew.
                del self.activations[key]
                continue
            for dim, kept in cuts.get(name, ()):
                if dim == 0:
                    value = self.activations[key]
                    self.activations[key] = value.index_select(0, kept.to(value.device))

    # Checkpoint ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to make the same masks.

        Plain values and tensors only: ``torch.load(weights_only=True)`` reads it back. The
        model and the optimizer are saved by the caller.
        """
        state: dict[str, Any] = {
            "version": STATE_VERSION,
            "shapes": {name: list(value.shape) for name, value in self.model.state_dict().items()},
            "masks_dict": {
                name: None if entry.mask is None else entry.mask.detach().contiguous().clone()
                for name, entry in self.zeros_mask_dict.items()
            },
            "flags": {name: entry.state() for name, entry in self.zeros_mask_dict.items()},
            "statistics": dict(self.statistics),
            "activations": {name: value.clone() for name, value in self.activations.items()},
            "policies": [policy.state_dict() for policy, _ in self._policies],
            "components": {
                key: component.state_dict() for key, component in self._stateful.items()
            },
        }
        if self._gradients_of:
            state["gradients"] = {
                name: parameter.grad.detach().clone()
                for name, parameter in self.model.named_parameters()
                if name in self._gradients_of and parameter.grad is not None
            }
        if self._is_random:
            state["random"] = random_state()
        return state

    def load_state_dict(
        self, state: Mapping[str, Any], normalize_dataparallel_keys: bool = False
    ) -> None:
        """Take over a saved state.

        Where a thinning had cut the network, this one and its optimizer are cut to the same
        shapes; their own states are to be loaded afterwards.

        Args:
            state: What :meth:`state_dict` of a scheduler of the same schedule gave.
            normalize_dataparallel_keys: Accepted as in the original; ``module.`` in front of a
                name never matters.

        Raises:
            CompressionError: It belongs to another schedule or another network.
        """
        if "masks_dict" not in state:
            raise CompressionError(
                "no scheduler's state: masks_dict is missing, found "
                f"{', '.join(state) or 'nothing'}"
            )
        masks = {canonical(name): mask for name, mask in state["masks_dict"].items()}
        flags = {canonical(name): flag for name, flag in state.get("flags", {}).items()}
        faults = [
            f"no mask entry for {n}" for n in self.zeros_mask_dict if canonical(n) not in masks
        ]
        if len(state.get("policies", self._policies)) != len(self._policies):
            faults.append(
                f"{len(state['policies'])} policies, the schedule has {len(self._policies)}"
            )
        if not faults:
            self._fit_shapes(state.get("shapes", {}))
            faults = self._mask_faults(masks)
        if faults:
            raise CompressionError(f"the saved state fits another run: {'; '.join(faults)}")
        parameters = dict(self.model.named_parameters())
        for name, entry in self.zeros_mask_dict.items():
            mask = masks[canonical(name)]
            entry.set(None if mask is None else mask.bool().to(parameters[name].device))
            if canonical(name) in flags:
                entry.load(flags[canonical(name)], parameters[name])
        self.statistics = dict(state.get("statistics", {}))
        device = next(iter(parameters.values())).device if parameters else None
        self.activations = {
            name: value.to(device) for name, value in state.get("activations", {}).items()
        }
        for (policy, _), saved in zip(self._policies, state.get("policies", ()), strict=False):
            policy.load_state_dict(saved)
        for key, saved in state.get("components", {}).items():
            if key not in self._stateful:
                raise CompressionError(f"the saved state fits another schedule: it has {key}")
            self._stateful[key].load_state_dict(saved)
        for name, gradient in state.get("gradients", {}).items():
            parameter = next(p for n, p in parameters.items() if canonical(n) == canonical(name))
            parameter.grad = gradient.to(parameter.device)
        if "random" in state:
            set_random_state(state["random"])

    def _fit_shapes(self, saved: Mapping[str, Sequence[int]]) -> None:
        """Cut a dense network, and its optimizer, to the shapes of a thinned one."""
        wanted = {canonical(name): tuple(shape) for name, shape in saved.items()}
        shapes = {name: tuple(value.shape) for name, value in self.model.state_dict().items()}
        fitting = {name: wanted.get(canonical(name), shape) for name, shape in shapes.items()}
        if fitting == shapes:
            return
        # On use: thinning knows schedules.
        from stillhouse_compression.thinning.optimizer_state import fit_network

        fit_network(self.model, self.optimizer, fitting)

    def _mask_faults(self, masks: Mapping[str, Tensor | None]) -> list[str]:
        parameters = dict(self.model.named_parameters())
        faults = []
        for name in self.zeros_mask_dict:
            mask = masks[canonical(name)]
            if mask is not None and mask.shape != parameters[name].shape:
                faults.append(
                    f"{name}: mask {tuple(mask.shape)}, parameter {tuple(parameters[name].shape)}"
                )
        return faults
