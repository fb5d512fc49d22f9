"""Schedulers of the learning rate: torch's own that YAML can express, and Distiller's two.

Depends on: torch.optim.
"""

from __future__ import annotations

import bisect
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from stillhouse_compression.errors import CompressionError, shown
from stillhouse_compression.schedule.arguments import (
    Argument,
    Arguments,
    Building,
    Check,
    ClassSpec,
    Refused,
    any_window,
    boolean,
    choice,
    given,
    integer,
    list_of,
    number,
    optional,
)
from stillhouse_compression.schedule.policy import Moment, Policy
from stillhouse_compression.schedule.window import Window


class PolynomialLR(LRScheduler):
    """``base * (1 - epoch / T_max) ** power``, not clamped after ``T_max``.

    Distiller's, not torch's class of the same name.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, power: float, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of the current epoch."""
        factor = (1.0 - self.last_epoch / self.T_max) ** self.power
        if isinstance(factor, complex):
            raise CompressionError(
                f"PolynomialLR: power {self.power} has no real value after epoch {self.T_max}; "
                "end its window at T_max"
            )
        return [base * factor for base in self.base_lrs]


class MultiStepMultiGammaLR(LRScheduler):
    """Multiplies the rate by its own gamma at every milestone that was reached."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gammas: Sequence[float],
        last_epoch: int = -1,
    ) -> None:
        self.milestones = list(milestones)
        # Cumulative products, the same order of multiplication at every epoch.
        self.factors = [1.0]
        for gamma in gammas:
            self.factors.append(self.factors[-1] * gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates of the current epoch."""
        factor = self.factors[bisect.bisect_right(self.milestones, self.last_epoch)]
        return [base * factor for base in self.base_lrs]


class LRPolicy(Policy):
    """Sets the learning rate for the next epoch when an active epoch ends.

    The rate is that of the absolute epoch, whatever the window.
    """

    def __init__(self, scheduler: LRScheduler) -> None:
        self.lr_scheduler = scheduler

    def on_epoch_end(self, moment: Moment) -> None:
        """Step to the next epoch."""
        with warnings.catch_warnings():
            # torch discourages stepping to an epoch; the schedule language is defined by it.
            warnings.filterwarnings(
                "ignore", message="The epoch parameter in", category=UserWarning
            )
            if isinstance(self.lr_scheduler, ReduceLROnPlateau):
                mode = self.lr_scheduler.mode
                if moment.metrics is None or mode not in moment.metrics:
                    raise CompressionError(
                        f"ReduceLROnPlateau watches metrics[{mode!r}], which on_epoch_end was not "
                        "given; pass metrics={'min': validation_loss, 'max': top1}"
                    )
                self.lr_scheduler.step(moment.metrics[mode], epoch=moment.epoch + 1)
            else:
                self.lr_scheduler.step(epoch=moment.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Torch's state of the scheduler, plain values only."""
        state = self.lr_scheduler.state_dict()
        return {key: _plain(value) for key, value in state.items() if not callable(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back."""
        milestones = getattr(self.lr_scheduler, "milestones", None)
        self.lr_scheduler.load_state_dict(dict(state))
        if milestones is not None:
            # MultiStepLR keeps a Counter, which a plain state does not hold.
            self.lr_scheduler.milestones = milestones  # type: ignore[attr-defined]  # set above


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


# Arguments --------------------------------------------------------------------------------

RATE = number(0.0)
RATES = ("lr", "momentum", "betas")
"""What schedulers change in an optimizer's parameter groups."""


def _integers(value: object) -> list[int]:
    milestones: list[int] = list_of(integer(0))(value)
    if not milestones:
        raise Refused(f"found {shown(value)}, wanted a list of epochs")
    return milestones


def _rates(value: object) -> Any:
    """A rate, or one a parameter group."""
    return list_of(RATE)(value) if isinstance(value, list | tuple) else RATE(value)


CHECKS: Mapping[str, Mapping[str, Check]] = {
    "ConstantLR": {"factor": number(0.0, 1.0), "total_iters": integer(0)},
    "CosineAnnealingLR": {"T_max": integer(1), "eta_min": RATE},
    "CosineAnnealingWarmRestarts": {"T_0": integer(1), "T_mult": integer(1), "eta_min": RATE},
    "CyclicLR": {
        "base_lr": _rates,
        "max_lr": _rates,
        "step_size_up": integer(1),
        "step_size_down": optional(integer(1)),
        "mode": choice("triangular", "triangular2", "exp_range"),
        "gamma": RATE,
        "scale_mode": choice("cycle", "iterations"),
        "cycle_momentum": boolean,
        "base_momentum": RATE,
        "max_momentum": RATE,
    },
    "ExponentialLR": {"gamma": RATE},
    "LinearLR": {
        "start_factor": number(0.0, 1.0, open_low=True),
        "end_factor": number(0.0, 1.0),
        "total_iters": integer(1),
    },
    "MultiStepLR": {"milestones": _integers, "gamma": RATE},
    "OneCycleLR": {
        "max_lr": _rates,
        "total_steps": optional(integer(1)),
        "epochs": optional(integer(1)),
        "steps_per_epoch": optional(integer(1)),
        "pct_start": number(0.0, 1.0),
        "anneal_strategy": choice("cos", "linear"),
        "cycle_momentum": boolean,
        "base_momentum": _rates,
        "max_momentum": _rates,
        "div_factor": number(0.0, open_low=True),
        "final_div_factor": number(0.0, open_low=True),
        "three_phase": boolean,
    },
    "ReduceLROnPlateau": {
        "mode": choice("min", "max"),
        "factor": number(0.0, math.nextafter(1.0, 0.0)),
        "patience": integer(0),
        "threshold": RATE,
        "threshold_mode": choice("rel", "abs"),
        "cooldown": integer(0),
        "min_lr": _rates,
        "eps": RATE,
    },
    "StepLR": {"step_size": integer(1), "gamma": RATE},
}
"""Class of torch -> check of each argument; what has no default in torch must be given."""


def _torch_spec(class_name: str, checks: Mapping[str, Check]) -> ClassSpec:
    class_ = getattr(lr_scheduler, class_name)
    signature = inspect.signature(class_.__init__).parameters
    arguments = tuple(
        Argument(
            name,
            check,
            required=signature[name].default is inspect.Parameter.empty,
            default=None
            if signature[name].default is inspect.Parameter.empty
            else signature[name].default,
        )
        for name, check in checks.items()
    )
    window = _one_cycle_window if class_name == "OneCycleLR" else any_window
    return ClassSpec(
        class_name, "lr_schedulers", arguments, _builder(class_), _faults, window=window
    )


def _builder(class_: Callable[..., Any]) -> Callable[[str, Arguments, Building], Any]:
    takes_epoch = "last_epoch" in inspect.signature(class_).parameters

    def build(name: str, arguments: Arguments, building: Building) -> Any:
        optimizer, is_resumed = building.optimizer, building.last_epoch >= 0
        for group in optimizer.param_groups:
            # torch wants it when resuming; an optimizer whose state was loaded has it.
            group.setdefault("initial_lr", group["lr"])
        rates = [
            {key: group[key] for key in RATES if key in group} for group in optimizer.param_groups
        ]
        kwargs = {"last_epoch": building.last_epoch} if takes_epoch else {}
        try:
            scheduler = class_(optimizer, **arguments, **kwargs)
        except KeyError:
            # One cycle keeps its bounds in the optimizer: one whose state comes later lacks them.
            scheduler = class_(optimizer, **arguments)
            scheduler.last_epoch = building.last_epoch
        if is_resumed:
            # torch steps while it builds; the rate of a resumed optimizer is already right.
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group.update(rate)
        return scheduler

    return build


def _faults(arguments: Arguments) -> Iterable[tuple[str, str]]:
    """Faults between arguments that torch would only raise while building."""
    is_one_cycle = "pct_start" in arguments
    if is_one_cycle and arguments["total_steps"] is None:
        has_epochs = arguments["epochs"] is not None and arguments["steps_per_epoch"] is not None
        if not has_epochs:
            yield "total_steps", "is missing; give total_steps, or epochs and steps_per_epoch"
    if "gammas" in arguments:
        n_milestones, n_gammas = len(arguments["milestones"]), len(arguments["gammas"])
        if n_milestones != n_gammas:
            yield "gammas", f"found {n_gammas}, wanted one for each of {n_milestones} milestones"
        if sorted(arguments["milestones"]) != arguments["milestones"]:
            yield "milestones", f"found {shown(arguments['milestones'])}, wanted them ascending"


def _one_cycle_window(arguments: Arguments, window: Window) -> str | None:
    """One cycle has an end, which torch refuses to step beyond."""
    total = arguments["total_steps"]
    if total is None:
        total = (arguments["epochs"] or 0) * (arguments["steps_per_epoch"] or 0)
    if total and window.last_active + 1 > total:
        return (
            f"OneCycleLR ends after {total} steps, one an epoch, but its policy sets the rate of "
            f"epoch {window.last_active + 1}; end the window or give more steps"
        )
    return None


def _polynomial_window(arguments: Arguments, window: Window) -> str | None:
    """A negative base has no real power that is not whole."""
    if window.last_active + 1 > arguments["T_max"] and not arguments["power"].is_integer():
        return (
            f"PolynomialLR: power {arguments['power']:g} has no real value after epoch "
            f"{arguments['T_max']:g}, but its policy sets the rate of epoch "
            f"{window.last_active + 1}; end the window at T_max"
        )
    return None


CLASSES = (
    *(_torch_spec(class_name, checks) for class_name, checks in CHECKS.items()),
    ClassSpec(
        "PolynomialLR",
        "lr_schedulers",
        (given("T_max", integer(1)), given("power", number(0.0))),
        _builder(PolynomialLR),
        window=_polynomial_window,
    ),
    ClassSpec(
        "MultiStepMultiGammaLR",
        "lr_schedulers",
        (given("milestones", _integers), given("gammas", list_of(RATE))),
        _builder(MultiStepMultiGammaLR),
        _faults,
    ),
)
