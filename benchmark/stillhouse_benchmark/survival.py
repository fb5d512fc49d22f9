"""The messages that say what is left of a network's weights and answers, stage by stage.

Depends on: the standard library. Imported through protocol.py; compression's own stages (torch,
ONNX) are told in the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillhouse_benchmark.agreement import Agreement
from stillhouse_benchmark.wire import Fields, Message, count_item, text_item


@dataclass(frozen=True)
class LayerWeights(Message):
    """One layer's weight as it lies in one stage.

    Attributes:
        layer: Torch module path.
        shape: Of the weight.
        n_weights: Its number of elements.
        n_nonzero: How many of them are not zero.
        sparsity: Share of zero elements, 0..1.
        filter_sparsity: Share of filters (slices of dimension 0) that are zero, 0..1.
    """

    layer: str
    shape: tuple[int, ...]
    n_weights: int
    n_nonzero: int
    sparsity: float
    filter_sparsity: float

    @classmethod
    def from_json(cls, value: object, path: str = "layer") -> LayerWeights:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            layer=get.text("layer"),
            shape=get.each("shape", count_item),
            n_weights=get.integer("n_weights"),
            n_nonzero=get.integer("n_nonzero"),
            sparsity=get.number("sparsity", high=1.0),
            filter_sparsity=get.number("filter_sparsity", high=1.0),
        )


@dataclass(frozen=True)
class Stage(Message):
    """One form of a network on its way from torch to the device.

    Attributes:
        name: ``torch``, ``onnx``, ``onnx in torch``, ``ir f32``, ``ir f16``, ``mo f16``,
            ``device``.
        made_by: What made it, with its version.
        layers: Its weights; empty where they cannot be read.
        agreement: Its answers to the probe batch against torch's; None for torch itself.
        n_stages: Torch layer -> stages of the compiled network, where a compiler tells them.
        missing_layers: Layers with weights that do not show in the compiled network.
        blob_bytes: Size of the compiled network, where there is such.
    """

    name: str
    made_by: str
    layers: tuple[LayerWeights, ...] = ()
    agreement: Agreement | None = None
    n_stages: dict[str, int] | None = None
    missing_layers: tuple[str, ...] = ()
    blob_bytes: int | None = None

    @classmethod
    def from_json(cls, value: object, path: str = "stage") -> Stage:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        has_agreement = get.has("agreement")
        return cls(
            name=get.text("name"),
            made_by=get.text("made_by"),
            layers=get.each("layers", LayerWeights.from_json),
            agreement=Agreement.from_json(get.get("agreement"), f"{path}.agreement")
            if has_agreement
            else None,
            n_stages=get.optional("n_stages", lambda name: get.mapping(name, count_item)),
            missing_layers=get.each("missing_layers", text_item)
            if get.has("missing_layers")
            else (),
            blob_bytes=get.optional("blob_bytes", get.integer),
        )
