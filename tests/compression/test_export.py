"""ONNX graphs: torch's outputs, torch's names, in the runtime that devices use."""

from pathlib import Path

import numpy as np
import onnx
import openvino  # type: ignore[import-untyped]  # ships no types
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stillhouse_compression import models
from stillhouse_compression.errors import ExportError
from stillhouse_compression.export import export_onnx
from stillhouse_compression.thinning import channel_units, thin

SHAPE = (3, 32, 32)


def stirred(name: str) -> nn.Module:
    """A network whose BatchNorm would show if it were folded wrongly."""
    torch.manual_seed(0)
    model = models.build(name)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return model.eval()


def infer(graph: bytes, x: Tensor) -> tuple[NDArray[np.float32], set[str]]:
    """Outputs of single inferences, and the names in the runtime's profile."""
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": 1,
    }
    request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
    outputs = []
    for image in x:
        request.infer([image[None].numpy()])
        outputs.append(request.get_output_tensor(0).data.copy())
    names = {row.node_name.removesuffix("/WithoutBiases") for row in request.get_profiling_info()}
    return np.concatenate(outputs), names


def layers_of(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(
    ("name", "n_layers"),
    [("resnet20_cifar", 22), ("plain20_cifar", 20), ("mobilenet_v2_cifar", 53)],
)
def test_the_runtime_computes_what_torch_does_under_torchs_names(name: str, n_layers: int) -> None:
    model = stirred(name)
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    outputs, names = infer(export_onnx(model, SHAPE), x)
    with torch.no_grad():
        expected = model(x).numpy()
    assert np.abs(outputs - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    layers = layers_of(model)
    assert len(layers) == n_layers
    assert [layer for layer in layers if layer not in names] == []


def test_a_thinned_network_is_exported_with_its_new_shapes() -> None:
    model = stirred("resnet20_cifar")
    with torch.no_grad():
        for unit in channel_units(model, SHAPE)[::3]:
            if unit.protection is None:
                for slot in unit.slots:
                    if slot.side == "out":
                        for parameter in model.get_submodule(slot.module).parameters():
                            parameter[slot.index] = 0.0
    thin(model, SHAPE)
    graph = export_onnx(model, SHAPE)
    weights = {
        tensor.name: tuple(tensor.dims) for tensor in onnx.load_from_string(graph).graph.initializer
    }
    for layer in layers_of(model):
        module = model.get_submodule(layer)
        assert weights[f"{layer}.weight"] == tuple(module.weight.shape)  # type: ignore[arg-type]  # Tensor
        assert weights[f"{layer}.bias"] == (module.weight.shape[0],)  # type: ignore[index]  # Tensor
    assert weights["conv1.weight"][0] < 16
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        assert np.abs(infer(graph, x)[0] - model(x).numpy()).max() < 1e-4


def test_every_node_has_its_outputs_name_and_the_output_the_last_layers() -> None:
    graph = onnx.load_from_string(export_onnx(stirred("resnet20_cifar"), SHAPE)).graph
    assert all(node.name == node.output[0] for node in graph.node)
    assert [value.name for value in graph.output] == ["fc"]
    assert [value.name for value in graph.input] == ["input"]
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"layer1.0.relu1", "layer1.0.add", "layer2.0.downsample.0", "avgpool"} <= set(names)
    assert not any(node.op_type in ("BatchNormalization", "ScatterND") for node in graph.node)


def test_equal_weights_keep_their_own_names() -> None:
    """The exporter stores equal tensors once; VGG's zero biases must not become one another's."""
    graph = onnx.load_from_string(export_onnx(models.build("vgg16_cifar"), SHAPE)).graph
    names = {tensor.name for tensor in graph.initializer}
    assert {f"features.{k}.bias" for k in (0, 2, 5, 7, 10, 28)} <= names
    assert not any(node.op_type == "Identity" for node in graph.node)


def test_the_graph_is_opset_13_with_batch_1() -> None:
    model = onnx.load_from_string(export_onnx(models.build("simplenet_cifar"), SHAPE))
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [13]
    shape = model.graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [1, 3, 32, 32]


def test_zeros_of_masked_weights_survive() -> None:
    model = models.build("simplenet_cifar")
    with torch.no_grad():
        model.get_submodule("fc1").weight[:, ::2] = 0.0  # type: ignore[operator]  # a Tensor
    graph = onnx.load_from_string(export_onnx(model, SHAPE)).graph
    weight = next(tensor for tensor in graph.initializer if tensor.name == "fc1.weight")
    assert (onnx.numpy_helper.to_array(weight) == 0).mean() == pytest.approx(0.5)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    model = stirred("resnet20_cifar").train()
    assert export_onnx(model, SHAPE) == export_onnx(model, SHAPE)
    assert model.training  # and the network's mode is what it was


def test_a_network_whose_layers_cannot_be_told_apart_is_refused() -> None:
    class Scaled(nn.Module):
        """A convolution whose weights are computed, and a matrix that is no layer."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.matrix = nn.Parameter(torch.randn(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.matmul(self.conv(x).mean((2, 3)), self.matrix)

    with pytest.raises(ExportError, match="2 convolution and linear nodes, the network ran 1"):
        export_onnx(Scaled(), SHAPE)
