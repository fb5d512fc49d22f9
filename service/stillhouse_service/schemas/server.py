"""The networks and data sets that a server has.

Depends on: pydantic.
"""

from __future__ import annotations

from pydantic import Field

from stillhouse_service.schemas.parts import Out


class ModelInfo(Out):
    """A network that this server can build."""

    name: str
    description: str
    input_shape: list[int] = Field(description="channels, height, width")
    n_classes_default: int


class DatasetInfo(Out):
    """A data set that this server has."""

    name: str
    description: str
    n_classes: int
    shape: list[int] = Field(description="channels, height, width")
    splits: dict[str, int] = Field(description="images in each split")


class Models(Out):
    """All networks."""

    items: list[ModelInfo]


class Datasets(Out):
    """All data sets."""

    items: list[DatasetInfo]
