"""Intel's own Distiller as the engine of a schedule, where it can be imported.

Its scheduler makes and applies masks, regularises and sets learning rates; what cuts the network
is ours, because the original's thinning does not run on a current torch.

Depends on: torch, template.dialect, reading. Distiller itself is imported on use.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from stillhouse_compression.errors import EngineError, Problem, ScheduleError
from stillhouse_compression.schedule.arguments import Building
from stillhouse_compression.schedule.policy import LossComponent, PolicyLoss
from stillhouse_compression.schedule.pruners.step import Cuts
from stillhouse_compression.schedule.reading import read_schedule, shapes_of
from stillhouse_compression.schedule.window import Window
from stillhouse_compression.template.dialect import OriginalDialect

Engine = Literal["stillhouse", "distiller"]
ENGINES: tuple[Engine, ...] = ("stillhouse", "distiller")

INSTALL = (
    "Intel's Distiller is on no package index; where training runs, clone "
    "https://github.com/IntelLabs/distiller and run `pip install --no-deps -e distiller`, then "
    "install what its import asks for, but leave torch as it is"
)
_NEEDS_STATISTICS = "needs statistics there that only the original's own training script gathers"
_CUDA = ".cuda() is written into it there, and compression runs on the CPU"
_UNABLE: Mapping[str, str] = {
    "ActivationAPoZRankedFilterPruner": _NEEDS_STATISTICS,
    "ActivationMeanRankedFilterPruner": _NEEDS_STATISTICS,
    "FMReconstructionChannelPruner": _NEEDS_STATISTICS,
    "GradientRankedFilterPruner": _CUDA,
    "RandomRankedFilterPruner": _CUDA,
    "BernoulliFilterPruner": "always fails there",
    "DropFilterRegularizer": "cannot be named in a schedule there",
}
"""Class (without ``_AGP``) -> why Distiller cannot run it from a schedule."""


def missing_distiller() -> str | None:
    """Why Intel's Distiller cannot be used here, and how that is changed; None: it can.

    Looks without importing anything: another package of PyPI has the same name.
    """
    spec = importlib.util.find_spec("distiller")
    if spec is None:
        return f"Intel's Distiller is not installed here: {INSTALL}"
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not any((folder / "scheduler.py").is_file() for folder in folders):
        where = spec.origin or "somewhere"
        return (
            f"the package 'distiller' at {where} is another one of that name, it has no "
            f"scheduler: uninstall it. {INSTALL}"
        )
    return None


def distiller_problems(schedule: Mapping[str, Any]) -> list[Problem]:
    """What a schedule of ours has that Intel's Distiller cannot run on a current torch.

    Args:
        schedule: Plain, and sound for our own engine; it is not changed.

    Returns:
        Problems with their YAML paths. What it only does in another way is not among them:
        `DistillerScheduler.warnings` has that.
    """
    problems = []
    for section in ("pruners", "regularizers"):
        entries = schedule.get(section)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            kind = str(entry.get("class")) if isinstance(entry, Mapping) else ""
            why = _UNABLE.get(kind.removesuffix("_AGP"))
            if why is not None:
                problems.append(Problem(f"{section}.{name}.class", _unable(kind, why)))
    policies = schedule.get("policies")
    for index, policy in enumerate(policies if isinstance(policies, list | tuple) else ()):
        body = policy.get("pruner") if isinstance(policy, Mapping) else None
        args = body.get("args") if isinstance(body, Mapping) else None
        if isinstance(args, Mapping) and args.get("fold_batchnorm"):
            why = "traces the network there in a way that current torch no longer knows"
            path = f"policies[{index}].pruner.args.fold_batchnorm"
            problems.append(Problem(path, _unable("fold_batchnorm", why)))
    if schedule.get("distillation") is not None:
        problems.append(Problem("distillation", _unable("distillation", "is set up in code there")))
    return problems


def _unable(what: str, why: str) -> str:
    return f"engine distiller cannot run {what}, it {why}; take engine stillhouse"


class DistillerScheduler:
    """A scheduler of Intel's Distiller with the callbacks and masks of ours.

    Extensions of the schedule are ours and act after Distiller's policies, in the epochs that
    the schedule gives them.

    Args:
        model: The network.
        optimizer: Its optimizer.
        schedule: Plain, in our dialect; it is not changed.

    Attributes:
        warnings: What could not be said to Distiller, one sentence each.
        optimizer: Stands in where a callback is not given one.

    Raises:
        EngineError: Distiller is not here, or does not take the schedule.
        ScheduleError: The schedule is not sound, or Distiller cannot run it.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, schedule: Mapping[str, Any]) -> None:
        missing = missing_distiller()
        if missing is not None:
            raise EngineError(missing)
        checked, problems = read_schedule(schedule, model)
        problems += distiller_problems(schedule)
        if problems:
            raise ScheduleError(problems)
        dialect = OriginalDialect(shapes_of(model))
        translated = dialect.translate(schedule)
        translated.pop("extensions", None)
        translated["policies"] = [p for p in translated["policies"] if "extension" not in p]
        self.model = model
        self.optimizer = optimizer
        self.warnings: tuple[str, ...] = tuple(dialect.notes)
        self._extensions: list[tuple[Any, Window]] = []
        built: dict[str, Any] = {}
        for entry in checked.policies:
            if entry.kind == "extension":
                component = checked.components["extensions"][entry.instance]
                if entry.instance not in built:
                    building = Building(model, optimizer)
                    built[entry.instance] = component.spec.build(
                        component.name, component.arguments, building
                    )
                self._extensions.append((built[entry.instance], entry.window))
        with _told("does not take the schedule"):
            config: Any = importlib.import_module("distiller.config")
            self._scheduler: Any = config.dict_config(model, optimizer, copy.deepcopy(translated))

    @property
    def masks(self) -> dict[str, Tensor | None]:
        """Parameter name -> its current mask (boolean, True = kept), or None."""
        return {
            name: None if masker.mask is None else masker.mask != 0
            for name, masker in self._scheduler.zeros_mask_dict.items()
        }

    def on_epoch_begin(self, epoch: int, optimizer: Optimizer | None = None) -> None:
        """Before an epoch's first minibatch."""
        with _told(f"failed at the begin of epoch {epoch}"):
            self._scheduler.on_epoch_begin(epoch, optimizer or self.optimizer)

    def on_minibatch_begin(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Before a minibatch's forward pass: masks act, then our extensions."""
        place = (epoch, minibatch_id, minibatches_per_epoch)
        optimizer = optimizer or self.optimizer
        with _told(f"failed before minibatch {minibatch_id} of epoch {epoch}"):
            self._scheduler.on_minibatch_begin(*place, optimizer)
        for extension, window in self._extensions:
            if window.is_active(epoch):
                extension.on_minibatch_begin(self.model, *place, self, optimizer)

    def before_backward_pass(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        loss: Tensor,
        optimizer: Optimizer | None = None,
    ) -> PolicyLoss:
        """After the loss, before the backward pass: ``(overall_loss, loss_components)``."""
        place = (epoch, minibatch_id, minibatches_per_epoch)
        with _told(f"failed on the loss of minibatch {minibatch_id} of epoch {epoch}"):
            answer = self._scheduler.before_backward_pass(
                *place, loss, optimizer or self.optimizer, return_loss_components=True
            )
        components = [LossComponent(part.name, part.value) for part in answer.loss_components]
        return PolicyLoss(answer.overall_loss, components)

    def before_parameter_optimization(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: Optimizer | None = None,
    ) -> None:
        """After the backward pass, before the optimizer's step."""
        place = (epoch, minibatch_id, minibatches_per_epoch)
        with _told(f"failed after the backward pass {minibatch_id} of epoch {epoch}"):
            self._scheduler.before_parameter_optimization(*place, optimizer or self.optimizer)

    def on_minibatch_end(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: Optimizer | None = None,
    ) -> None:
        """After the optimizer's step: masks act again."""
        place = (epoch, minibatch_id, minibatches_per_epoch)
        with _told(f"failed after minibatch {minibatch_id} of epoch {epoch}"):
            self._scheduler.on_minibatch_end(*place, optimizer or self.optimizer)

    def on_epoch_end(
        self,
        epoch: int,
        optimizer: Optimizer | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """After the epoch's validation."""
        with _told(f"failed at the end of epoch {epoch}"):
            self._scheduler.on_epoch_end(epoch, optimizer or self.optimizer, metrics=metrics)

    def mask_all_weights(self) -> None:
        """Zero all masked weights."""
        parameters = dict(self.model.named_parameters())
        for name, mask in self.masks.items():
            if mask is not None and name in parameters:
                parameters[name].data.mul_(mask)

    def on_parameters_cut(self, cuts: Mapping[str, Cuts]) -> None:
        """Cut Distiller's masks as our thinning has cut the parameters."""
        parameters = dict(self.model.named_parameters())
        for name, cut in cuts.items():
            masker = self._scheduler.zeros_mask_dict[name]
            for dim, kept in cut:
                if masker.mask is not None:
                    masker.mask = masker.mask.index_select(dim, kept.to(masker.mask.device))
            if getattr(masker, "backward_hook_handle", None) is not None:
                masker.backward_hook_handle = parameters[name].register_hook(  # type: ignore[no-untyped-call]  # torch
                    masker.mask_gradient
                )
        for policies in self._scheduler.policies.values():
            for policy in policies:
                # A leader's cached verdict has the old width; this makes it rank again.
                if hasattr(getattr(policy, "pruner", None), "last_target_sparsity"):
                    policy.pruner.last_target_sparsity = None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever Distiller raises into our error."""
    try:
        yield
    except (Exception, SystemExit) as error:  # it leaves by exit() in places
        message = f"Intel's Distiller {what}: {type(error).__name__}: {error}"
        raise EngineError(message) from error
