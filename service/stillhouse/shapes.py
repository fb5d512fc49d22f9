"""What the server answers, as frozen dataclasses that keep the JSON they came from.

Depends on: the standard library. docs/api.md draws the shapes; members that this version does not
know stay readable in `json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from stillhouse.errors import UnexpectedAnswer

Json = Mapping[str, Any]
Scalar = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One JSON object of the API.

    Attributes:
        json: The object as the server sent it.
    """

    json: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, json: Any) -> Self:
        """Read the members this class knows.

        Raises:
            UnexpectedAnswer: `json` is no object or lacks one of them.
        """
        if not isinstance(json, dict):
            raise UnexpectedAnswer(f"{cls.__name__} must be a JSON object, got {json!r:.80}")
        known = [f.name for f in fields(cls) if f.name != "json" and not f.name.startswith("_")]
        missing = [name for name in known if name not in json]
        if missing:
            raise UnexpectedAnswer(f"{cls.__name__} came without {', '.join(missing)}")
        return cls(json=json, **{name: json[name] for name in known})


@dataclass(frozen=True, kw_only=True)
class Baseline(Shape):
    """A trained network, or one on its way.

    Attributes:
        metrics: `validation_top1`, `test_top1` (fractions), `params`, `macs`, `onnx_bytes`.
        progress: What the training says of itself (`epoch`, `epochs`, `loss`, ...).
        artifacts: `weights` and `onnx`: sha256 each.
    """

    id: str
    model: str
    dataset: str
    recipe: Json
    seed: int
    state: str
    progress: Json
    metrics: Mapping[str, float]
    error: str | None
    artifacts: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        """Whether its training has ended, well or not."""
        return self.state in ("complete", "failed")


@dataclass(frozen=True, kw_only=True)
class Trial(Shape):
    """One evaluation of one config.

    Attributes:
        number: 0, 1, 2, ... within its study.
        config: Value of each active parameter.
        origin: `initial`, `model`, `random` or `enqueued`; `imported` or `foreign` where another
            study or a file brought it.
        prediction: What the model expected, with spread; empty unless it proposed the trial.
        metrics: What was measured; None before that.
        is_feasible: Whether it meets every constraint; None unless complete.
        violations: Metric -> by how much it misses its bound.
        failure: `stage`, `class` and `reason`; None unless it failed.
        artifacts: `schedule`, `onnx`, `weights`: sha256 each.
    """

    id: str
    number: int
    study_id: str
    state: str
    config: Mapping[str, Scalar]
    origin: str
    prediction: Mapping[str, float]
    seed: int
    metrics: Mapping[str, float] | None
    is_feasible: bool | None
    violations: Mapping[str, float]
    failure: Json | None
    progress: Json
    artifacts: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("complete", "failed", "unsupported", "cancelled", "stopped")


@dataclass(frozen=True, kw_only=True)
class TrialDetail(Trial):
    """A trial with its layers, schedule, events and measurements.

    Attributes:
        layers: `layer`, `type`, `candidate_ms`, `baseline_ms` of the last measurement.
        sparsity: One row a layer, from compression.
        survival: What is left of its weights and answers in each form from torch to the device.
        schedule: The plain schedule that was run; None before compression.
        measurements: Every device job's result, oldest first.
    """

    layers: Sequence[Json]
    sparsity: Sequence[Json]
    survival: Sequence[Json]
    schedule: Json | None
    training: Json | None
    events: Sequence[Json]
    measurements: Sequence[Json]


@dataclass(frozen=True, kw_only=True)
class AskedTrial(Shape):
    """A trial to run, of a study whose trials are run outside.

    Attributes:
        trial: The Trial, as the server shows it.
        token: What it is told with.
        expires_at: Then somebody else gets it, unless it is extended.
        schedule: The plain schedule of its config; None where the study has no template.
        training: The plain fine-tuning settings, likewise.
    """

    trial: Json
    token: str
    expires_at: str
    schedule: Json | None
    training: Json | None

    @property
    def id(self) -> str:
        """The trial's id."""
        return str(self.trial["id"])

    @property
    def number(self) -> int:
        """0, 1, 2, ... within its study."""
        return int(self.trial["number"])

    @property
    def config(self) -> Mapping[str, Scalar]:
        """Value of each active parameter."""
        return dict(self.trial["config"])
