"""The messages of a compiler check: which networks a device's compiler takes, asked without a run.

Depends on: the standard library. Imported through protocol.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillhouse_benchmark.manifest import File
from stillhouse_benchmark.wire import Fields, Message, count_item, text_item

CHECK_LIMIT_S = 1800.0
COMPILES = "compile:"  # a device's capability: "compile:MYRIAD", "compile:CPU"


@dataclass(frozen=True)
class NamedNetwork(Message):
    """One network of a check.

    Attributes:
        name: The server's name for it, given back with the answer.
        file: ONNX.
    """

    name: str
    file: File

    @classmethod
    def from_json(cls, value: object, path: str = "network") -> NamedNetwork:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(get.text("name"), File.from_json(get.get("file"), f"{path}.file"))


@dataclass(frozen=True)
class CheckJob(Message):
    """Networks for a device's compiler; nothing is run or timed, MYRIAD needs no stick.

    Attributes:
        id: ``job_…``.
        device: Whose compiler; may be another than the one that leased the job.
        networks: At least one.
        job_limit_s: Limit of the whole job, seconds; past it the child is killed.
        kind: ``check``.
    """

    id: str
    device: str
    networks: tuple[NamedNetwork, ...]
    job_limit_s: float = CHECK_LIMIT_S
    kind: str = "check"

    @classmethod
    def from_json(cls, value: object, path: str = "job") -> CheckJob:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        limit_s = get.optional("job_limit_s", lambda name: get.number(name, above=True))
        return cls(
            id=get.text("id"),
            device=get.text("device"),
            networks=get.each("networks", NamedNetwork.from_json),
            job_limit_s=limit_s or CHECK_LIMIT_S,
            kind=get.text("kind", one_of=("check",)),
        )


@dataclass(frozen=True)
class Preflight(Message):
    """What a device's compiler says of one network.

    Attributes:
        device: Asked for.
        runtime: Asked.
        is_supported: Whether it compiles.
        failure_class: Of ``FAILURE_CLASSES``, None when it is supported.
        reason: Why not; empty when it is supported.
        layers: Torch names of the layers to blame.
        blob_bytes: Size of the compiled network, where the device has such.
        stages: Torch layer -> stages it became, where the device has such.
        missing_layers: Layers with weights that became no stage of their own.
    """

    device: str
    runtime: str
    is_supported: bool
    failure_class: str | None = None
    reason: str = ""
    layers: tuple[str, ...] = ()
    blob_bytes: int | None = None
    stages: dict[str, int] | None = None
    missing_layers: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object, path: str = "preflight") -> Preflight:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            device=get.text("device"),
            runtime=get.text("runtime"),
            is_supported=get.flag("is_supported"),
            failure_class=get.optional("failure_class", get.text),
            reason=get.text_or_empty("reason"),
            layers=get.each("layers", text_item),
            blob_bytes=get.optional("blob_bytes", get.integer),
            stages=get.optional("stages", lambda name: get.mapping(name, count_item)),
            missing_layers=get.each("missing_layers", text_item),
        )


@dataclass(frozen=True)
class CheckResult(Message):
    """A finished check; a network that does not compile is an answer, not a failure.

    Attributes:
        networks: Name -> what the compiler says.
        runtime_version: Of the compiler's runtime.
        duration_s: The whole job, seconds.
    """

    networks: dict[str, Preflight]
    runtime_version: str
    duration_s: float

    @classmethod
    def from_json(cls, value: object, path: str = "check") -> CheckResult:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            networks=get.mapping("networks", Preflight.from_json),
            runtime_version=get.text("runtime_version"),
            duration_s=get.number("duration_s"),
        )
