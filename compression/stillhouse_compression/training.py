"""How a network is trained: the settings of a baseline's recipe and of a trial's fine-tuning.

Depends on: the standard library. Plain data in, every problem at once out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from stillhouse_compression.errors import Problem, SettingsError, nearest, shown

LR_SCHEDULES = ("cosine", "step", "constant")
CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class _Number:
    low: float
    high: float = math.inf
    is_low_open: bool = False
    is_high_open: bool = False
    is_integer: bool = False

    def check(self, value: object) -> str | None:
        kind = "an integer" if self.is_integer else "a number"
        wanted = f"{kind} {self._range()}"
        if isinstance(value, bool) or not isinstance(
            value, int if self.is_integer else int | float
        ):
            return f"must be {wanted}, got {shown(value)}"
        is_low = value <= self.low if self.is_low_open else value < self.low
        is_high = value >= self.high if self.is_high_open else value > self.high
        if math.isnan(value) or math.isinf(value) or is_low or is_high:
            return f"must be {wanted}, got {shown(value)}"
        return None

    def _range(self) -> str:
        if math.isinf(self.high):
            return f"{'above' if self.is_low_open else 'of at least'} {self.low:g}"
        left, right = "(" if self.is_low_open else "[", ")" if self.is_high_open else "]"
        return f"in {left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True)
class _Flag:
    def check(self, value: object) -> str | None:
        return None if isinstance(value, bool) else f"must be true or false, got {shown(value)}"


@dataclass(frozen=True)
class _Choice:
    choices: tuple[str, ...]

    def check(self, value: object) -> str | None:
        if isinstance(value, str) and value in self.choices:
            return None
        return f"must be one of {', '.join(self.choices)}, got {shown(value)}" + nearest(
            value, self.choices
        )


_RULES: dict[str, _Number | _Flag | _Choice] = {
    "epochs": _Number(0, is_integer=True),
    "recovery_epochs": _Number(0, is_integer=True),
    "lr": _Number(0.0, is_low_open=True),
    "batch_size": _Number(2, is_integer=True),
    "effective_train_size": _Number(0.0, 1.0, is_low_open=True),
    "momentum": _Number(0.0, 1.0, is_high_open=True),
    "nesterov": _Flag(),
    "weight_decay": _Number(0.0),
    "lr_schedule": _Choice(LR_SCHEDULES),
    "lr_step_epochs": _Number(1, is_integer=True),
    "lr_gamma": _Number(0.0, 1.0, is_low_open=True),
    "warmup_epochs": _Number(0.0),
    "label_smoothing": _Number(0.0, 1.0, is_high_open=True),
    "augment": _Flag(),
    "mixed_precision": _Flag(),
    "checkpoint": _Choice(CHECKPOINTS),
    "recalibrate_batchnorm": _Flag(),
}


@dataclass(frozen=True)
class _Optimisation:
    """What a recipe and a fine-tuning share; SGD with momentum.

    Attributes:
        epochs: Passes over the training images.
        lr: Learning rate at its highest.
        batch_size: Images a minibatch.
        effective_train_size: Share of the training images that an epoch sees, drawn anew for each;
            in (0, 1]. The name is that of Distiller's own examples.
        momentum: Of SGD, in [0, 1).
        nesterov: Whether the momentum looks ahead; without effect at momentum 0.
        weight_decay: L2 strength on every parameter.
        lr_schedule: ``cosine`` to 0 over all epochs, ``step``, or ``constant``.
        lr_step_epochs: With ``step``: epochs between two drops.
        lr_gamma: With ``step``: factor of each drop.
        warmup_epochs: The learning rate rises linearly for so long.
        label_smoothing: In [0, 1).
        augment: Whether training images are changed as the data set says.
        mixed_precision: On CUDA, bfloat16 where it is safe; without effect on the CPU.
    """

    epochs: int = 8
    lr: float = 0.1
    batch_size: int = 32
    effective_train_size: float = 1.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    lr_schedule: str = "cosine"
    lr_step_epochs: int = 30
    lr_gamma: float = 0.1
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    augment: bool = True
    mixed_precision: bool = True

    @classmethod
    def check(cls, mapping: object, path: str = "training") -> list[Problem]:
        """Find everything that is wrong with settings, without raising.

        Args:
            mapping: What a document or a config gave.
            path: The YAML path that problems are named under.
        """
        if not isinstance(mapping, Mapping):
            return [Problem(path, f"must be a mapping of settings, got {shown(mapping)}")]
        known = [field.name for field in dataclasses.fields(cls)]
        problems: list[Problem] = []
        for name, value in mapping.items():
            if name not in known:
                hint = nearest(name, known) or f"; there are: {', '.join(known)}"
                problems.append(Problem(f"{path}.{name}", f"no such setting{hint}"))
            elif (message := _RULES[name].check(value)) is not None:
                problems.append(Problem(f"{path}.{name}", message))
        return problems

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], path: str = "training") -> Self:
        """Build settings; what is not named keeps its default.

        Raises:
            SettingsError: With every problem and its path.
        """
        problems = cls.check(mapping, path)
        if problems:
            raise SettingsError(problems)
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            name: float(value) if isinstance(defaults[name], float) else value
            for name, value in mapping.items()
        }
        return cls(**values)

    def to_mapping(self) -> dict[str, float | int | str | bool]:
        """All settings as plain data, defaults included."""
        return dataclasses.asdict(self)

    def lr_at(self, epoch: float, epochs: int) -> float:
        """The learning rate at a point of training.

        Args:
            epoch: Epochs done, with fractions; in [0, epochs].
            epochs: Epochs in all.
        """
        if epoch < self.warmup_epochs:
            return self.lr * max(epoch, 1e-3) / self.warmup_epochs
        if self.lr_schedule == "step":
            return self.lr * self.lr_gamma ** (int(epoch) // self.lr_step_epochs)
        if self.lr_schedule == "constant" or epochs <= self.warmup_epochs:
            return self.lr
        done = (epoch - self.warmup_epochs) / (epochs - self.warmup_epochs)
        return self.lr * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Recipe(_Optimisation):
    """How a baseline is trained.

    Attributes:
        checkpoint: ``best`` on validation (ties: the later), or ``last``.
    """

    checkpoint: str = "best"


@dataclass(frozen=True)
class TrainingSettings(_Optimisation):
    """How a trial is fine-tuned: the ``training:`` part of a study.

    Attributes:
        epochs: Epochs with the schedule.
        recovery_epochs: Epochs after thinning; element-wise masks stay.
        recalibrate_batchnorm: Whether BatchNorm statistics are estimated afresh at the end.
    """

    epochs: int = 4
    recovery_epochs: int = 2
    lr: float = 0.02
    warmup_epochs: float = 0.0
    recalibrate_batchnorm: bool = True

    @property
    def total_epochs(self) -> int:
        """Epochs with the schedule and after thinning."""
        return self.epochs + self.recovery_epochs


def check_training(mapping: object) -> list[Problem]:
    """Find everything that is wrong with a study's ``training:`` section (plain, no tags)."""
    return TrainingSettings.check(mapping, "training")


def check_recipe(mapping: object) -> list[Problem]:
    """Find everything that is wrong with a baseline's recipe."""
    return Recipe.check(mapping, "recipe")
