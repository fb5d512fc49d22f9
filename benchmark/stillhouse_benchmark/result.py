"""The messages of a finished measurement: times, accuracy, agreement, layers, host.

Depends on: the standard library. Imported through protocol.py.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from stillhouse_benchmark.agreement import Agreement
from stillhouse_benchmark.errors import ProtocolError
from stillhouse_benchmark.survival import Stage
from stillhouse_benchmark.wire import Fields, Message, count_item, text_item

RUNTIME_ROW = "(runtime)"


@dataclass(frozen=True)
class Timing(Message):
    """Single inferences at batch 1, warm-up left out, all compilations pooled.

    Attributes:
        p25_ms: Percentiles by nearest rank, of wall time.
        p50_ms: See above.
        p90_ms: See above.
        p95_ms: See above.
        p99_ms: See above.
        mean_ms: Mean wall time.
        sd_ms: Standard deviation of the wall time.
        cpu_p50_ms: Median CPU time of the whole process during one inference.
        n_runs: Inferences timed.
        throughput_per_s: One after another: ``1000 / mean_ms``.
    """

    p25_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    sd_ms: float
    cpu_p50_ms: float
    n_runs: int
    throughput_per_s: float

    @classmethod
    def from_json(cls, value: object, path: str = "timing") -> Timing:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            p25_ms=get.number("p25_ms"),
            p50_ms=get.number("p50_ms", above=True),
            p90_ms=get.number("p90_ms"),
            p95_ms=get.number("p95_ms"),
            p99_ms=get.number("p99_ms"),
            mean_ms=get.number("mean_ms", above=True),
            sd_ms=get.number("sd_ms"),
            cpu_p50_ms=get.number("cpu_p50_ms"),
            n_runs=get.integer("n_runs", low=1),
            throughput_per_s=get.number("throughput_per_s", above=True),
        )


@dataclass(frozen=True)
class Counts(Message):
    """Correct answers over a split.

    Attributes:
        n_images: Images judged.
        top1_correct: The label has the highest score.
        top5_correct: The label is among the five highest (all of them when there are fewer).
        class_images: Images of each class; empty from a host that does not count them.
        class_correct: Of these, the label has the highest score.
    """

    n_images: int
    top1_correct: int
    top5_correct: int
    class_images: tuple[int, ...] = ()
    class_correct: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, value: object, path: str = "counts") -> Counts:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        counts = cls(
            n_images=get.integer("n_images", low=1),
            top1_correct=get.integer("top1_correct"),
            top5_correct=get.integer("top5_correct"),
            class_images=get.each("class_images", count_item) if get.has("class_images") else (),
            class_correct=get.each("class_correct", count_item) if get.has("class_correct") else (),
        )
        if not counts.top1_correct <= counts.top5_correct <= counts.n_images:
            raise ProtocolError(
                f"{path}.top5_correct", "must be at least top1_correct and at most n_images"
            )
        return counts


@dataclass(frozen=True)
class Accuracy(Message):
    """Both networks over the same images.

    Attributes:
        candidate: The candidate's counts.
        baseline: The baseline's.
        n_disagree_candidate_only: Images that only the candidate gets right (Top-1).
        n_disagree_baseline_only: Images that only the baseline gets right: with the former
            McNemar's discordant pairs.
    """

    candidate: Counts
    baseline: Counts
    n_disagree_candidate_only: int
    n_disagree_baseline_only: int

    @classmethod
    def from_json(cls, value: object, path: str = "accuracy") -> Accuracy:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            candidate=Counts.from_json(get.get("candidate"), f"{path}.candidate"),
            baseline=Counts.from_json(get.get("baseline"), f"{path}.baseline"),
            n_disagree_candidate_only=get.integer("n_disagree_candidate_only"),
            n_disagree_baseline_only=get.integer("n_disagree_baseline_only"),
        )


@dataclass(frozen=True)
class LayerTime(Message):
    """A torch layer's time in one inference, from a pass of its own with profiling on.

    Attributes:
        layer: Torch module path, or ``(runtime)`` for what belongs to no layer.
        type: Operation, such as ``Convolution``.
        candidate_ms: Median over the profiled inferences; 0 where the network lacks it.
        baseline_ms: The same of the baseline.
    """

    layer: str
    type: str
    candidate_ms: float
    baseline_ms: float

    @classmethod
    def from_json(cls, value: object, path: str = "layer") -> LayerTime:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            layer=get.text("layer"),
            type=get.text("type"),
            candidate_ms=get.number("candidate_ms"),
            baseline_ms=get.number("baseline_ms"),
        )


@dataclass(frozen=True)
class HostState(Message):
    """The host while it measured.

    Attributes:
        cpu_model: The processor's name.
        n_cpus: Logical processors.
        load_1m: Load average of the last minute at the end of the job, None where unknown.
        runtime: ``openvino`` or ``openvino2021``.
        runtime_version: As the runtime tells it.
        temperature_c: The device's temperature at the end of the job, None where unknown.
        n_threads: Inference threads, 0 when left to the runtime.
        temperature_start_c: The device's temperature before timing, None where unknown.
    """

    cpu_model: str
    n_cpus: int
    load_1m: float | None
    runtime: str
    runtime_version: str
    temperature_c: float | None
    n_threads: int
    temperature_start_c: float | None = None

    @classmethod
    def from_json(cls, value: object, path: str = "host") -> HostState:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            cpu_model=get.text("cpu_model"),
            n_cpus=get.integer("n_cpus", low=1),
            load_1m=get.optional("load_1m", get.number),
            runtime=get.text("runtime"),
            runtime_version=get.text("runtime_version"),
            temperature_c=get.optional("temperature_c", lambda name: get.number(name, -273.15)),
            n_threads=get.integer("n_threads") if get.has("n_threads") else 0,
            temperature_start_c=get.optional(
                "temperature_start_c", lambda name: get.number(name, -273.15)
            ),
        )


@dataclass(frozen=True)
class Result(Message):
    """A finished job.

    Attributes:
        candidate: The candidate's times.
        baseline: The baseline's times, measured in the same minutes.
        latency_ratio: Candidate / baseline, of the medians; below 1 is faster.
        latency_ratio_low: Lower end of its 95 % interval.
        latency_ratio_high: Upper end.
        is_distinguishable: The interval excludes 1.
        aa_ratio: The baseline against itself, compiled separately: the noise floor.
        is_gate_passed: Always true: a job whose A/A pair fails is not told as a result.
        n_attempts: Timing attempts, the believed one included.
        accuracy: Over the job's split; None where the job asked for none.
        agreement: ``candidate`` and ``baseline`` against torch.
        layers: By torch layer, in the baseline's order; the last row is ``(runtime)``.
        host: The host while it measured.
        duration_s: The whole job, seconds.
        flags: What a reader should know: ``time-limit`` (stopped before the interval was narrow
            enough), ``drift`` (the last quarter was slower or faster than the first), ``busy`` (the
            system interrupted many inferences), ``hot`` (the chip did not cool down before).
        survival: What is left of the candidate in each form the runtime gives it.
        raw_times: Every single time: base64 of an ``.npz`` with ``candidate_wall_ms``,
            ``candidate_cpu_ms`` and likewise ``baseline`` and ``baseline_again``, each float32
            (n_rounds, n_blocks, n_runs); empty from a host that does not send them.
    """

    candidate: Timing
    baseline: Timing
    latency_ratio: float
    latency_ratio_low: float
    latency_ratio_high: float
    is_distinguishable: bool
    aa_ratio: float
    is_gate_passed: bool
    n_attempts: int
    accuracy: Accuracy | None
    agreement: dict[str, Agreement]
    layers: tuple[LayerTime, ...]
    host: HostState
    duration_s: float
    flags: tuple[str, ...] = dataclasses.field(default=())
    survival: tuple[Stage, ...] = ()
    raw_times: str = ""

    @classmethod
    def from_json(cls, value: object, path: str = "result") -> Result:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        result = cls(
            candidate=Timing.from_json(get.get("candidate"), f"{path}.candidate"),
            baseline=Timing.from_json(get.get("baseline"), f"{path}.baseline"),
            latency_ratio=get.number("latency_ratio", above=True),
            latency_ratio_low=get.number("latency_ratio_low", above=True),
            latency_ratio_high=get.number("latency_ratio_high", above=True),
            is_distinguishable=get.flag("is_distinguishable"),
            aa_ratio=get.number("aa_ratio", above=True),
            is_gate_passed=get.flag("is_gate_passed"),
            n_attempts=get.integer("n_attempts", low=1),
            accuracy=get.optional(
                "accuracy", lambda name: Accuracy.from_json(get.get(name), f"{path}.{name}")
            ),
            agreement=get.mapping("agreement", Agreement.from_json),
            layers=get.each("layers", LayerTime.from_json),
            host=HostState.from_json(get.get("host"), f"{path}.host"),
            duration_s=get.number("duration_s"),
            flags=get.each("flags", text_item) if get.has("flags") else (),
            survival=get.each("survival", Stage.from_json) if get.has("survival") else (),
            raw_times=get.text_or_empty("raw_times") if get.has("raw_times") else "",
        )
        if result.latency_ratio_low > result.latency_ratio_high:
            raise ProtocolError(f"{path}.latency_ratio_low", "must not exceed latency_ratio_high")
        return result
