"""What every input and answer has: strict members, text that a database stores.

Depends on: pydantic.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None  # null is a choice like any other
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MAX_TEXT = 1_000_000


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


class In(BaseModel):
    """An input: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        return storable(value) if isinstance(value, dict) else value


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


Resources = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[float, Field(gt=0)]],
    Field(
        max_length=20,
        description="what a compute worker must offer, by Dask's names; `GPU` trains on CUDA",
        examples=[{"GPU": 1, "GPU_MEMORY": 8e9}],
    ),
]
