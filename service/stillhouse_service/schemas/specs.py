"""What a study is made from.

Depends on: pydantic.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from stillhouse_service.schemas.parts import MAX_TEXT, In, Resources


def _is_left_out(value: object) -> bool:
    return value is None


def _word(value: object) -> object:
    # YAML reads a bare `off` as false.
    return "off" if value is False else value


Switch = Annotated[bool, Field(description="`on` and `off` are taken too")]
EarlyStop = Annotated[Literal["off", "cautious", "bold"], BeforeValidator(_word)]


class Budget(In):
    """How much a study may use; limits left out are shown as they were sent, not at all."""

    trials: int = Field(ge=1, le=100_000)
    wall_s: float | None = Field(
        default=None, gt=0, description="since the device's check passed", exclude_if=_is_left_out
    )
    compute_s: float | None = Field(
        default=None, gt=0, description="compression, all trials", exclude_if=_is_left_out
    )
    min_gain: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="least gain a further trial must promise, a fraction",
        exclude_if=_is_left_out,
    )


class Fidelity(In):
    """Rungs of successive halving; without them every trial is trained to its end."""

    recovery_epochs: list[int] = Field(
        min_length=2,
        max_length=8,
        description="of each rung, rising; in the place of the training's own. Two rungs may train "
        "alike where the lower one is judged on fewer images",
        examples=[[1, 3, 9]],
    )
    validation_images: list[int] | None = Field(
        default=None,
        description="how many images of the validation split each rung but the highest is judged "
        "on, rising; the highest is always judged on all of them. Left out: so is every rung",
        examples=[[100, 200]],
        exclude_if=_is_left_out,
        validate_default=True,
    )
    reduction: int = Field(default=3, ge=2, le=10, description="one in so many goes on")

    @field_validator("recovery_epochs")
    @classmethod
    def _rises(cls, epochs: list[int]) -> list[int]:
        if epochs[0] < 1 or any(a > b for a, b in pairwise(epochs)) or epochs[-1] > 100_000:
            raise ValueError("must rise from at least 1, like [1, 3, 9]")
        return epochs

    @field_validator("validation_images")
    @classmethod
    def _fits_the_rungs(cls, images: list[int] | None, info: ValidationInfo) -> list[int] | None:
        epochs = info.data.get("recovery_epochs")
        if epochs is None:  # told already
            return images
        if images is not None and len(images) != len(epochs) - 1:
            raise ValueError(
                f"must name one number for each rung but the highest, which is judged on all: "
                f"{len(epochs) - 1} for these {len(epochs)} rungs, got {len(images)}"
            )
        if images and (images[0] < 1 or any(a > b for a, b in pairwise(images))):
            raise ValueError("must rise from at least 1, like [100, 200]")
        whole = math.inf
        sizes = [*images, whole] if images is not None else [whole] * len(epochs)
        for rung, (lower, higher) in enumerate(pairwise(zip(epochs, sizes, strict=True))):
            if lower == higher:
                raise ValueError(
                    f"rungs {rung} and {rung + 1} are the same: both train {lower[0]} recovery "
                    "epochs and are judged on the same images; wanted more of either at the higher"
                )
        return images


class OptimizerIn(In):
    """Settings of the optimizer; what is left out is the optimizer's own choice."""

    n_initial: int | None = Field(default=None, ge=1, description="trials before the model is used")


class TimingIn(In):
    """Settings of the device jobs; what is left out is the device host's own choice."""

    target_interval: float | None = Field(default=None, gt=0, lt=1)
    time_limit_s: float | None = Field(default=None, gt=0, le=3600)
    n_compilations: int | None = Field(default=None, ge=1, le=100)
    max_aa_deviation: float | None = Field(default=None, gt=0)
    n_threads: int | None = Field(default=None, ge=0, le=1024)
    max_output_error: float | None = Field(default=None, gt=0)
    job_limit_s: float | None = Field(default=None, gt=0, le=86_400)


class StudySpec(In):
    """A study: what may vary, what is wanted, on which device."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "name": "digits",
                    "baseline": "bsl_0123456789abcdef",
                    "device": "CPU",
                    "template": "version: 1\npruners:\n  filters:\n"
                    "    class: L1RankedStructureParameterPruner_AGP\n"
                    "    group_type: Filters\n    initial_sparsity: 0.05\n"
                    "    final_sparsity: !float {low: 0.1, high: 0.8}\n"
                    "    weights: [layer1.*.conv1.weight]\n"
                    "policies:\n  - pruner: {instance_name: filters}\n"
                    "    starting_epoch: 0\n    ending_epoch: 3\n    frequency: 1\n",
                    "training": "epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true}\n",
                    "objectives": ["latency_ratio"],
                    "constraints": ["top1_drop <= 0.02"],
                    "budget": {"trials": 20},
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=200)
    runner: Literal["server", "outside"] = Field(
        default="server",
        description="who runs the trials: this server's compute and device hosts, or whoever asks "
        "for them and tells what came of it",
    )
    baseline: str | None = Field(
        default=None, description="id of a complete baseline; of runner `server` alone"
    )
    device: str | None = Field(
        default=None,
        description="kind of device (`CPU`, `MYRIAD`, ...) or a device's id; of runner `server` "
        "alone",
    )
    template: str = Field(
        default="", max_length=MAX_TEXT, description="schedule with search tags, YAML text"
    )
    parameters: list[dict[str, Any]] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="instead of a template, of runner `outside` alone: the space as plain "
        "Parameters (docs/architecture.md)",
        exclude_if=_is_left_out,
    )
    forbidden: list[dict[str, Any]] | None = Field(
        default=None,
        max_length=1000,
        description="with `parameters`: combinations of values that are not allowed",
        exclude_if=_is_left_out,
    )
    warm_start: list[str] | None = Field(
        default=None,
        max_length=100,
        description="ids of earlier studies of the same space, whose trials this one learns from",
        exclude_if=_is_left_out,
    )
    transfer: list[str] | None = Field(
        default=None,
        max_length=20,
        description="ids of ended studies to learn from whose space overlaps; how much each counts "
        "is decided by how well it ranks this study's own trials",
        exclude_if=_is_left_out,
    )
    training: str = Field(default="", max_length=MAX_TEXT, description="fine-tuning, YAML text")
    objectives: list[str] = Field(
        default=["latency_ratio"],
        min_length=1,
        description="one: the fastest within the limits is looked for; two or three: their front",
    )
    reference: dict[str, float] | None = Field(
        default=None,
        description="of several objectives: metric -> the worst value still of interest, where "
        "that is neither its limit nor the baseline's value",
        exclude_if=_is_left_out,
    )
    constraints: list[str] = Field(default_factory=list, examples=[["top1_drop <= 0.02"]])
    budget: Budget
    parallel: int = Field(default=1, ge=1, le=64, description="trials on their way at once")
    seed: int = Field(default=0, ge=0, lt=2**31)
    surrogate: str = "forest"
    resources: Resources = Field(default_factory=dict)
    reuse: Switch = Field(
        default=True,
        description="whether trials that build the same network and train it in the same way are "
        "run once, and a network of the same shapes is timed once on a device",
    )
    probe: Switch = Field(
        default=False,
        description="whether the untrained network is timed first, and one that cannot be faster "
        "than the best is not trained",
    )
    early_stop: EarlyStop = Field(
        default="off",
        description="whether a training ends as soon as its validation curve makes the limit on "
        "accuracy unreachable",
    )
    fidelity: Fidelity | None = Field(
        default=None,
        description="successive halving: configs are trained a little, the best of them further",
        exclude_if=_is_left_out,
    )
    optimizer: OptimizerIn = OptimizerIn()
    engine: Literal["stillhouse", "distiller"] = Field(
        default="stillhouse",
        description="whose scheduler runs the schedules: ours, or Intel's own Distiller where "
        "it is installed",
    )
    timing: TimingIn = TimingIn()


class StudyChanges(In):
    """What a clone of a study has instead; members as in a StudySpec."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    baseline: str | None = None
    device: str | None = None
    template: str | None = Field(default=None, max_length=MAX_TEXT)
    training: str | None = Field(default=None, max_length=MAX_TEXT)
    objectives: list[str] | None = None
    reference: dict[str, float] | None = None
    constraints: list[str] | None = None
    parameters: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=1000)
    forbidden: list[dict[str, Any]] | None = Field(default=None, max_length=1000)
    warm_start: list[str] | None = Field(default=None, max_length=100)
    transfer: list[str] | None = Field(default=None, max_length=20)
    budget: Budget | None = None
    parallel: int | None = Field(default=None, ge=1, le=64)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    resources: Resources | None = None
    reuse: Switch | None = None
    probe: Switch | None = None
    early_stop: EarlyStop | None = None
    fidelity: Fidelity | None = None

    def to_spec(self) -> dict[str, Any]:
        """Give the members that were sent."""
        return self.model_dump(exclude_none=True)


class PriorityIn(In):
    """How urgent a study is."""

    priority: int = Field(ge=-1000, le=1000, description="higher goes first; studies begin with 0")
