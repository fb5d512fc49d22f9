"""The message that says how well two networks' answers agree.

Depends on: the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillhouse_benchmark.wire import Fields, Message


@dataclass(frozen=True)
class Agreement(Message):
    """The device's outputs against torch's over the probe batch.

    Attributes:
        max_abs: Largest absolute difference of any output.
        max_rel: The same as a fraction of the largest absolute reference output.
        top1_agreement: Share of the images with the same highest class, 0..1.
    """

    max_abs: float
    max_rel: float
    top1_agreement: float

    @classmethod
    def from_json(cls, value: object, path: str = "agreement") -> Agreement:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            max_abs=get.number("max_abs"),
            max_rel=get.number("max_rel"),
            top1_agreement=get.number("top1_agreement", high=1.0),
        )
