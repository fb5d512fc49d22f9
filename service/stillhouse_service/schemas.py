"""The HTTP contract: what comes in and what goes out, as docs/api.md draws it.

Depends on: pydantic. The device host's messages are not here: `stillhouse_benchmark.protocol`
defines them.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stillhouse_service.states import BaselineState, StudyState, TrialState

Scalar = bool | int | float | str
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_MAX_TEXT = 1_000_000


def storable(value: Any) -> Any:
    """Refuse text that no database stores: half of a surrogate pair, NUL.

    Raises:
        ValueError: `value` holds such text, or is nested too deeply.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if "\\u0000" in text:
        raise ValueError("holds a NUL character")
    return value


class _In(BaseModel):
    """An input: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        return storable(value) if isinstance(value, dict) else value


class _Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class Health(_Out):
    """The server is alive."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    status: Literal["ok"] = "ok"
    version: str
    schema_revision: str = Field(alias="schema")
    compute: str = Field(description="`embedded`, `none`, or the address of a Dask scheduler")


class ModelInfo(_Out):
    """A network that this server can build."""

    name: str
    description: str
    input_shape: list[int] = Field(description="channels, height, width")
    n_classes_default: int


class DatasetInfo(_Out):
    """A data set that this server has."""

    name: str
    description: str
    n_classes: int
    shape: list[int] = Field(description="channels, height, width")
    splits: dict[str, int] = Field(description="images in each split")


class Models(_Out):
    """All networks."""

    items: list[ModelInfo]


class Datasets(_Out):
    """All data sets."""

    items: list[DatasetInfo]


class BaselineIn(_In):
    """A network to train; studies compress it and compare with it."""

    model: str = Field(examples=["resnet20_cifar"])
    dataset: str = Field(examples=["digits"])
    recipe: dict[str, Any] = Field(default_factory=dict, examples=[{"epochs": 8, "lr": 0.1}])
    seed: int = Field(default=0, ge=0, lt=2**31)


class Baseline(_Out):
    """A trained network, or one on its way."""

    id: str
    model: str
    dataset: str
    recipe: dict[str, Any]
    seed: int
    state: BaselineState
    progress: dict[str, Any]
    metrics: dict[str, int | float] = Field(
        description="`validation_top1`, `test_top1` (fractions), `params`, `macs`, `onnx_bytes`"
    )
    error: str | None
    artifacts: dict[str, str] = Field(description="`weights`, `onnx`: sha256")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Baselines(_Out):
    """A page of baselines, newest first."""

    items: list[Baseline]
    next_page_token: str | None = None


def _is_left_out(value: object) -> bool:
    return value is None


class Budget(_In):
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


class OptimizerIn(_In):
    """Settings of the optimizer; what is left out is the optimizer's own choice."""

    n_initial: int | None = Field(default=None, ge=1, description="trials before the model is used")


class TimingIn(_In):
    """Settings of the device jobs; what is left out is the device host's own choice."""

    target_interval: float | None = Field(default=None, gt=0, lt=1)
    time_limit_s: float | None = Field(default=None, gt=0, le=3600)
    n_compilations: int | None = Field(default=None, ge=1, le=100)
    max_aa_deviation: float | None = Field(default=None, gt=0)
    n_threads: int | None = Field(default=None, ge=0, le=1024)
    max_output_error: float | None = Field(default=None, gt=0)
    job_limit_s: float | None = Field(default=None, gt=0, le=86_400)


class StudySpec(_In):
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
    baseline: str = Field(description="id of a complete baseline")
    device: str = Field(description="kind of device (`CPU`, `MYRIAD`, ...) or a device's id")
    template: str = Field(max_length=_MAX_TEXT, description="schedule with search tags, YAML text")
    training: str = Field(default="", max_length=_MAX_TEXT, description="fine-tuning, YAML text")
    objectives: list[str] = Field(default=["latency_ratio"], min_length=1)
    constraints: list[str] = Field(default_factory=list, examples=[["top1_drop <= 0.02"]])
    budget: Budget
    parallel: int = Field(default=1, ge=1, le=64, description="trials on their way at once")
    seed: int = Field(default=0, ge=0, lt=2**31)
    surrogate: str = "forest"
    optimizer: OptimizerIn = OptimizerIn()
    engine: Literal["stillhouse", "distiller"] = Field(
        default="stillhouse",
        description="whose scheduler runs the schedules: ours, or Intel's own Distiller where "
        "it is installed",
    )
    timing: TimingIn = TimingIn()


class StudyChanges(_In):
    """What a clone of a study has instead; members as in a StudySpec."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    baseline: str | None = None
    device: str | None = None
    template: str | None = Field(default=None, max_length=_MAX_TEXT)
    training: str | None = Field(default=None, max_length=_MAX_TEXT)
    objectives: list[str] | None = None
    constraints: list[str] | None = None
    budget: Budget | None = None
    parallel: int | None = Field(default=None, ge=1, le=64)
    seed: int | None = Field(default=None, ge=0, lt=2**31)

    def to_spec(self) -> dict[str, Any]:
        """Give the members that were sent."""
        return self.model_dump(exclude_none=True)


class PriorityIn(_In):
    """How urgent a study is."""

    priority: int = Field(ge=-1000, le=1000, description="higher goes first; studies begin with 0")


class TrialIn(_In):
    """A trial of the user's own."""

    config: dict[str, Scalar] = Field(description="value of every active parameter")


class Incumbent(_Out):
    """The best feasible trial so far."""

    model_config = ConfigDict(extra="allow", frozen=True)  # and every metric of the trial

    trial_id: str
    number: int
    is_certain: bool = Field(
        description="whether the limits hold at the unfavourable ends of its intervals too"
    )
    is_confirmed: bool = Field(description="whether its latency was measured again")


class Study(_Out):
    """A study and where it stands."""

    id: str
    name: str
    state: StudyState
    reason: str | None = Field(description="why it ended, or why it does not move")
    spec: StudySpec
    parameters: list[dict[str, Any]]
    counts: dict[str, int] = Field(description="trials by state, and `feasible`")
    baseline_measurement: dict[str, int | float] | None = Field(
        description="on the device, validation split: `p50_ms`, `p95_ms`, `validation_top1`, ..."
    )
    priority: int = Field(description="its work goes before that of studies with a lower one")
    experiment_id: str | None = Field(
        description="whose listed cases its trials are; null: an optimizer proposes them"
    )
    incumbent: Incumbent | None
    final: dict[str, Any] | None = Field(description="the incumbent measured on the test split")
    finalized: dict[str, Any] | None = Field(
        description="the incumbent trained anew at full length, then measured on the test split; "
        "null: nobody has asked for it"
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    eta_s: float | None = Field(description="rough time left, from the trials so far")


class Studies(_Out):
    """A page of studies, newest first."""

    items: list[Study]
    next_page_token: str | None = None


class TrialFailure(_Out):
    """Why a trial has no result."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    stage: str
    failure_class: str = Field(alias="class")
    reason: str


class Trial(_Out):
    """One evaluation of one config."""

    id: str
    number: int
    study_id: str
    state: TrialState
    config: dict[str, Scalar]
    origin: str = Field(description="`initial`, `model`, `random`, `enqueued` or `listed`")
    prediction: dict[str, int | float]
    seed: int
    metrics: dict[str, int | float] | None
    is_feasible: bool | None
    violations: dict[str, float | None] = Field(
        description="metric -> by how much it misses its bound; null: it was not measured"
    )
    failure: TrialFailure | None
    progress: dict[str, Any]
    artifacts: dict[str, str] = Field(description="`schedule`, `onnx`, `weights`: sha256")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Trials(_Out):
    """A page of trials, in `number` order."""

    items: list[Trial]
    next_page_token: str | None = None


class Event(_Out):
    """One line of the append-only log."""

    number: int
    at: datetime
    subject: str = Field(description="id of what it is about")
    kind: str = Field(description="`state`, `stage`, `attempt` or `incumbent`")
    who: str
    before: str | None
    after: str | None
    reason: str | None


class Events(_Out):
    """A page of events, oldest first."""

    items: list[Event]
    next_page_token: str | None = None


class Measurement(_Out):
    """One device job's result; measuring again adds one, it changes none."""

    id: int
    purpose: str = Field(description="`check`, `trial`, `confirm` or `final`")
    split: str
    device_id: str
    at: datetime
    metrics: dict[str, int | float]
    result: dict[str, Any] = Field(description="as the device host reported it")


class TrialDetail(Trial):
    """A trial with its layers, events and measurements."""

    layers: list[dict[str, Any]] = Field(
        description="`layer`, `type`, `candidate_ms`, `baseline_ms` of the last measurement"
    )
    sparsity: list[dict[str, Any]] = Field(description="of each layer, from compression")
    survival: list[dict[str, Any]] = Field(
        description="what is left of its weights and answers in each form from torch to the "
        "device: `Stage` of docs/protocol.md"
    )
    schedule: dict[str, Any] | None = Field(description="the plain schedule that was run")
    training: dict[str, Any] | None = Field(description="the plain fine-tuning settings")
    history: list[dict[str, Any]] = Field(description="epoch by epoch, from compression")
    thinning: list[dict[str, Any]] = Field(description="what was cut out, from compression")
    warnings: list[str]
    events: list[Event]
    measurements: list[Measurement]


class MetricImportance(_Out):
    """Which parameters explain one metric."""

    model_config = ConfigDict(extra="allow", frozen=True)

    r2_oob: float | None = Field(description="fit of the forest on trials it has not seen")
    verdict: Literal["enough", "care", "not_enough"]
    explanation: str
    parameters: list[dict[str, Any]] = Field(
        description="most important first: `name`, `importance` (share of variance, 0..1), "
        "`direction`, `recommendation`, `curve`; empty when the verdict is `not_enough`"
    )


class Importance(_Out):
    """Which parameters mattered, metric by metric."""

    study_id: str
    n_trials: int
    metrics: dict[str, MetricImportance]


class DeviceInfo(_Out):
    """A device that a host has offered."""

    id: str
    worker_id: str
    worker: str
    name: str
    kind: str
    full_name: str
    runtime: str
    runtime_version: str
    is_live: bool
    last_seen_at: datetime


class Devices(_Out):
    """All devices ever offered."""

    items: list[DeviceInfo]


class TokenIn(_In):
    """A token to make."""

    name: str = Field(min_length=1, max_length=200, description="who will use it; for the log")
    scopes: list[str] = Field(
        min_length=1, examples=[["read"]], description="of `read`, `write`, `worker`, `admin`"
    )
    days: float | None = Field(default=None, gt=0, le=36_500, description="good for so long")


class Token(_Out):
    """A token, as everybody but its holder knows it."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewToken(Token):
    """A token just made."""

    token: str = Field(description="shown this once; the server keeps its hash only")


class Tokens(_Out):
    """All tokens."""

    items: list[Token]


class ProblemDetail(_Out):
    """RFC 9457: every error of this API has this shape."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(examples=["/problems/spec-rejected"])
    title: str
    status: int
    detail: str
    instance: str
    problems: list[dict[str, str]] | None = Field(
        default=None, description="every problem with its path, where there is more than one"
    )
