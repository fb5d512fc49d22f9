"""The server, its networks and data sets.

Depends on: pydantic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse_service.schemas.parts import Out


class Health(Out):
    """The server is alive."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    status: Literal["ok"] = "ok"
    version: str
    schema_revision: str = Field(alias="schema")
    drives: bool = Field(
        description="whether it moves the studies on: of several servers of a database one does"
    )
    compute: str = Field(description="`embedded`, `none`, or the address of a Dask scheduler")


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
