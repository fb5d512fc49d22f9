"""The messages between a device's host and the server, version 1; docs/protocol.md shows them.

Depends on: the standard library. The server imports this module for all shapes; those of files
and data sets stand in manifest.py, of a finished measurement in result.py, of a compiler check in
check_job.py. Every class is
frozen; ``from_json`` takes parsed JSON and raises ``ProtocolError`` naming the field, ``to_json``
gives plain lists and dicts. ``x == type(x).from_json(x.to_json())``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

from stillhouse_benchmark.agreement import Agreement
from stillhouse_benchmark.check_job import (
    COMPILES,
    CheckJob,
    CheckResult,
    NamedNetwork,
    Preflight,
)
from stillhouse_benchmark.errors import ProtocolError
from stillhouse_benchmark.known_timing import KnownTiming
from stillhouse_benchmark.manifest import SPLITS, DataManifest, File, Shard
from stillhouse_benchmark.result import (
    RUNTIME_ROW,
    Accuracy,
    Counts,
    HostState,
    LayerTime,
    Result,
    Timing,
)
from stillhouse_benchmark.survival import LayerWeights, Stage
from stillhouse_benchmark.wire import Fields, Message, text_item

PROTOCOL_VERSION = 1
PROTOCOL_HEADER = "Stillhouse-Protocol"
FAILURE_CLASSES = (
    "unsupported",
    "mismatch",
    "gate",
    "device-fault",
    "out-of-memory",
    "bad-artifact",
    "timeout",
    "internal",
)
JOB_KINDS = ("benchmark", "check")
PRECISIONS = ("f32", "f16", "bf16", "i8")

__all__ = [
    "COMPILES",
    "FAILURE_CLASSES",
    "JOB_KINDS",
    "PRECISIONS",
    "PROTOCOL_HEADER",
    "PROTOCOL_VERSION",
    "RUNTIME_ROW",
    "SPLITS",
    "Accuracy",
    "Agreement",
    "CheckJob",
    "CheckResult",
    "Counts",
    "DataManifest",
    "Device",
    "Failure",
    "File",
    "HostState",
    "Job",
    "JobSettings",
    "KnownTiming",
    "LayerTime",
    "LayerWeights",
    "Lease",
    "NamedNetwork",
    "Preflight",
    "Probe",
    "ProtocolError",
    "Registered",
    "Result",
    "Shard",
    "Stage",
    "Timing",
]


@dataclass(frozen=True)
class Device(Message):
    """A device as its host announces it.

    Attributes:
        name: Unique on its host; the OpenVINO device name (``CPU``, ``GPU.1``, ``MYRIAD``).
        kind: Device family: the name without its number.
        full_name: The maker's name for it.
        runtime: ``openvino`` or ``openvino2021``.
        runtime_version: As the runtime tells it.
        precisions: What it computes in, of ``PRECISIONS``; the first is the default.
        max_opset: Highest ONNX opset its runtime is known to read.
        host: The host's name.
        capabilities: ``benchmark``, and ``compile:KIND`` for each kind of device whose compiler
            is here; that device itself need not be.
    """

    name: str
    kind: str
    full_name: str
    runtime: str
    runtime_version: str
    precisions: tuple[str, ...]
    max_opset: int
    host: str
    capabilities: tuple[str, ...] = ("benchmark",)

    @classmethod
    def from_json(cls, value: object, path: str = "device") -> Device:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            name=get.text("name"),
            kind=get.text("kind"),
            full_name=get.text("full_name"),
            runtime=get.text("runtime"),
            runtime_version=get.text("runtime_version"),
            precisions=get.each("precisions", text_item),
            max_opset=get.integer("max_opset", low=1),
            host=get.text("host"),
            capabilities=get.each("capabilities", text_item),
        )


@dataclass(frozen=True)
class Probe(Message):
    """A few inputs and what torch answers to them.

    Attributes:
        inputs: ``.npy`` float32 (n, C, H, W), already normalised.
        candidate_outputs: ``.npy`` float32 (n, classes), torch's.
        baseline_outputs: The same of the baseline.
    """

    inputs: File
    candidate_outputs: File
    baseline_outputs: File

    @classmethod
    def from_json(cls, value: object, path: str = "probe") -> Probe:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            **{
                item.name: File.from_json(get.get(item.name), f"{path}.{item.name}")
                for item in dataclasses.fields(cls)
            }
        )


@dataclass(frozen=True)
class JobSettings(Message):
    """How a job is measured. Every field may be left out; unknown ones are refused.

    Attributes:
        target_interval: Stop when the ratio's 95 % interval is within +- this fraction.
        time_limit_s: Limit of one timing attempt, its compilations included, seconds.
        n_compilations: Compilations of each network that are pooled.
        max_aa_deviation: The A/A pair may differ from 1 by this fraction.
        n_threads: Inference threads; 0 leaves it to the runtime.
        max_output_error: Outputs may differ from torch's by this fraction of the largest
            reference output; None takes the precision's own limit.
        job_limit_s: Limit of the whole job, seconds; past it the child is killed.
    """

    target_interval: float = 0.03
    time_limit_s: float = 10.0
    n_compilations: int = 5
    max_aa_deviation: float = 0.05
    n_threads: int = 1
    max_output_error: float | None = None
    job_limit_s: float = 3600.0

    @classmethod
    def from_json(cls, value: object, path: str = "settings") -> JobSettings:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        get.no_others(tuple(item.name for item in dataclasses.fields(cls)))
        default = cls()

        def above_zero(name: str, high: float = math.inf) -> float | None:
            return get.optional(name, lambda name: get.number(name, 0.0, high, above=True))

        def integer(name: str, low: int, otherwise: int) -> int:
            return get.integer(name, low) if get.has(name) else otherwise

        return cls(
            target_interval=above_zero("target_interval", 1.0) or default.target_interval,
            time_limit_s=above_zero("time_limit_s") or default.time_limit_s,
            n_compilations=integer("n_compilations", 1, default.n_compilations),
            max_aa_deviation=above_zero("max_aa_deviation") or default.max_aa_deviation,
            n_threads=integer("n_threads", 0, default.n_threads),
            max_output_error=above_zero("max_output_error"),
            job_limit_s=above_zero("job_limit_s") or default.job_limit_s,
        )


@dataclass(frozen=True)
class Job(Message):
    """One measurement to make; every file is named by content hash.

    Attributes:
        id: ``job_…``.
        kind: ``benchmark``.
        device: Name of the device on its host.
        precision: Of ``PRECISIONS``.
        candidate: ONNX.
        baseline: ONNX.
        probe: Inputs and reference outputs.
        data: The data set's manifest.
        split: The split that manifest must be of.
        settings: How to measure.
        timing: The candidate's times where a network of its operations and shapes was timed before
            on this device: nothing is timed, they are given back. A host that does not know this
            field times.
        is_judged: Whether accuracy is counted; without it a result has none.
    """

    id: str
    kind: str
    device: str
    precision: str
    candidate: File
    baseline: File
    probe: Probe
    data: File
    split: str
    settings: JobSettings = field(default_factory=JobSettings)
    timing: KnownTiming | None = None
    is_judged: bool = True

    @classmethod
    def from_json(cls, value: object, path: str = "job") -> Job:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        settings = JobSettings()
        if get.has("settings"):
            settings = JobSettings.from_json(get.get("settings"), f"{path}.settings")
        return cls(
            id=get.text("id"),
            kind=get.text("kind", one_of=("benchmark",)),
            device=get.text("device"),
            precision=get.text("precision", one_of=PRECISIONS),
            candidate=File.from_json(get.get("candidate"), f"{path}.candidate"),
            baseline=File.from_json(get.get("baseline"), f"{path}.baseline"),
            probe=Probe.from_json(get.get("probe"), f"{path}.probe"),
            data=File.from_json(get.get("data"), f"{path}.data"),
            split=get.text("split", one_of=SPLITS),
            settings=settings,
            timing=get.optional(
                "timing", lambda name: KnownTiming.from_json(get.get(name), f"{path}.{name}")
            ),
            is_judged=get.flag("is_judged") if get.has("is_judged") else True,
        )


def read_job(value: object, path: str = "job") -> Job | CheckJob:
    """Read a job of either kind, or raise ``ProtocolError``."""
    kind = Fields(value, path).text("kind", one_of=JOB_KINDS)
    return CheckJob.from_json(value, path) if kind == "check" else Job.from_json(value, path)


@dataclass(frozen=True)
class Lease(Message):
    """A host's hold on a job.

    Attributes:
        id: ``lse_…``.
        token: Fencing token, sent back with every call about the lease.
        expires_in_s: Without a heartbeat the lease ends after this time.
        job: What to do.
        traceparent: Of the trace that it belongs to (W3C Trace Context), for the log; None: none.
    """

    id: str
    token: str
    expires_in_s: float
    job: Job | CheckJob
    traceparent: str | None = None

    @classmethod
    def from_json(cls, value: object, path: str = "lease") -> Lease:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            id=get.text("id"),
            token=get.text("token"),
            expires_in_s=get.number("expires_in_s", 0.0, above=True),
            job=read_job(get.get("job"), f"{path}.job"),
            traceparent=get.optional("traceparent", get.text),
        )


@dataclass(frozen=True)
class Failure(Message):
    """Why a job failed.

    Attributes:
        failure_class: Of ``FAILURE_CLASSES``; ``class`` on the wire.
        stage: What the job was doing.
        reason: One or two sentences for the user.
        layers: Torch names of the layers to blame, if known.
    """

    failure_class: str = field(metadata={"wire": "class"})
    stage: str
    reason: str
    layers: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object, path: str = "failure") -> Failure:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            failure_class=get.text("class", one_of=FAILURE_CLASSES),
            stage=get.text("stage"),
            reason=get.text("reason"),
            layers=get.each("layers", text_item) if get.has("layers") else (),
        )


@dataclass(frozen=True)
class Registered(Message):
    """The server's answer to a registration.

    Attributes:
        id: ``wrk_…``.
        device_ids: Device name -> ``dev_…``.
        heartbeat_s: How often to send a heartbeat.
        lease_s: How long a lease lives without one.
    """

    id: str
    device_ids: dict[str, str]
    heartbeat_s: float
    lease_s: float

    @classmethod
    def from_json(cls, value: object, path: str = "worker") -> Registered:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        devices = get.each("devices", Fields)
        return cls(
            id=get.text("id"),
            device_ids={device.text("name"): device.text("id") for device in devices},
            heartbeat_s=get.number("heartbeat_s", 0.0, above=True),
            lease_s=get.number("lease_s", 0.0, above=True),
        )

    def to_json(self) -> object:
        """The server's answer as docs/protocol.md shows it."""
        devices = [{"id": key, "name": name} for name, key in self.device_ids.items()]
        return {
            "id": self.id,
            "devices": devices,
            "heartbeat_s": self.heartbeat_s,
            "lease_s": self.lease_s,
        }
