"""The times of a network that was timed before: the same operations and shapes, other weights.

Depends on: the standard library. Imported through protocol.py.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from stillhouse_benchmark.errors import ProtocolError
from stillhouse_benchmark.result import LayerTime, Result, Timing
from stillhouse_benchmark.wire import Fields, Message, text_item


@dataclass(frozen=True)
class KnownTiming(Message):
    """What a job need not measure again; the host gives it back as it is, so a result is whole.

    Attributes:
        candidate: As in ``Result``, like all that follow.
        baseline: See above.
        latency_ratio: See above.
        latency_ratio_low: See above.
        latency_ratio_high: See above.
        is_distinguishable: See above.
        aa_ratio: See above.
        n_attempts: See above.
        layers: See above.
        flags: See above.
    """

    candidate: Timing
    baseline: Timing
    latency_ratio: float
    latency_ratio_low: float
    latency_ratio_high: float
    is_distinguishable: bool
    aa_ratio: float
    n_attempts: int
    layers: tuple[LayerTime, ...]
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Result) -> KnownTiming:
        """Take the times out of a result."""
        return cls(**{item.name: getattr(result, item.name) for item in dataclasses.fields(cls)})

    @classmethod
    def from_json(cls, value: object, path: str = "timing") -> KnownTiming:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        known = cls(
            candidate=Timing.from_json(get.get("candidate"), f"{path}.candidate"),
            baseline=Timing.from_json(get.get("baseline"), f"{path}.baseline"),
            latency_ratio=get.number("latency_ratio", above=True),
            latency_ratio_low=get.number("latency_ratio_low", above=True),
            latency_ratio_high=get.number("latency_ratio_high", above=True),
            is_distinguishable=get.flag("is_distinguishable"),
            aa_ratio=get.number("aa_ratio", above=True),
            n_attempts=get.integer("n_attempts", low=1),
            layers=get.each("layers", LayerTime.from_json),
            flags=get.each("flags", text_item) if get.has("flags") else (),
        )
        if known.latency_ratio_low > known.latency_ratio_high:
            raise ProtocolError(f"{path}.latency_ratio_low", "must not exceed latency_ratio_high")
        return known
