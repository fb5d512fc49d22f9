"""One network, layer by layer.

Depends on: pydantic.
"""

from __future__ import annotations

from pydantic import Field

from stillhouse_service.schemas.parts import Out


class NetworkLayer(Out):
    """A convolution or linear layer."""

    layer: str = Field(description="torch's module path")
    type: str
    shape: list[int] = Field(description="of the weight")
    params: int
    macs: int = Field(description="multiply-accumulates of one image")


class Network(Out):
    """A network with its sizes."""

    name: str
    description: str
    input_shape: list[int] = Field(description="channels, height, width")
    n_classes: int
    depth: int = Field(description="convolution and linear layers on the longest way through it")
    params: int
    macs: int
    layers: list[NetworkLayer]
