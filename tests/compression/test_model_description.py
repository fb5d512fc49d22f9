"""What a network is made of, networks of torchvision, weights from files."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from stillhouse_compression import models
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.models.description import describe
from stillhouse_compression.weights_file import load_weights_file

HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("resnet20_cifar", 20),  # the papers count the weighted layers, projections left out
        ("resnet56_cifar", 56),
        ("plain20_cifar", 20),
        ("vgg16_cifar", 14),  # 13 convolutions, one linear layer
        ("simplenet_cifar", 5),
        ("mobilenet_v2_cifar", 53),  # stem, 2 + 16 x 3, head, linear
    ],
)
def test_depth_is_that_of_the_papers(name: str, depth: int) -> None:
    assert describe(name).depth == depth


def test_a_description_names_every_layer_with_its_shape() -> None:
    """LeNet-like, by hand: 28x28 outputs of 5x5x3 kernels, 10x10 of 5x5x6, three linear."""
    found = describe("simplenet_cifar")
    assert [(row.layer, row.type, row.shape, row.params, row.macs) for row in found.layers] == [
        ("conv1", "Conv2d", (6, 3, 5, 5), 456, 28 * 28 * 6 * 75),
        ("conv2", "Conv2d", (16, 6, 5, 5), 2416, 10 * 10 * 16 * 150),
        ("fc1", "Linear", (120, 400), 48_120, 48_000),
        ("fc2", "Linear", (84, 120), 10_164, 10_080),
        ("fc3", "Linear", (10, 84), 850, 840),
    ]
    assert found.params == 456 + 2416 + 48_120 + 10_164 + 850
    assert found.macs == 651_720
    assert describe("simplenet_cifar", 3).layers[-1].shape == (3, 84)


@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed")
def test_a_network_of_torchvision_says_what_to_install() -> None:
    with pytest.raises(CompressionError, match=r"pip install 'stillhouse\[vision\]'"):
        models.build("torchvision:resnet18")


@pytest.mark.skipif(not HAS_TORCHVISION, reason="torchvision is not installed")
def test_networks_of_torchvision_are_built() -> None:
    """He et al. 2016: ResNet-18 has 11.7 M parameters and needs 1.8 G MACs."""
    found = describe("torchvision:resnet18")
    assert (found.depth, found.input_shape, found.n_classes) == (18, (3, 224, 224), 1000)
    assert found.params == 11_689_512
    assert found.macs / 1e9 == pytest.approx(1.8, abs=0.05)
    with pytest.raises(CompressionError, match="did you mean 'resnet18'"):
        models.build("torchvision:resnet81")


def test_weights_are_read_from_both_kinds_of_files(tmp_path: Path) -> None:
    trained = models.build("simplenet_cifar", 10)
    state = trained.state_dict()
    safetensors.torch.save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    # As Distiller's checkpoints have it, trained on several GPUs.
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "arch": "x", "state_dict": parallel}, tmp_path / "checkpoint.pth.tar")
    for file in ("plain.safetensors", "plain.pt", "checkpoint.pth.tar"):
        model = models.build("simplenet_cifar", 10)
        load_weights_file(model, tmp_path / file)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, state[name]), (file, name)


class _Harmful:
    """Runs a command where it is unpickled carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return (os.system, ("touch harmed",))


def test_a_malicious_pickle_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"conv1.weight": _Harmful()}}, tmp_path / "evil.pt")
    model = models.build("simplenet_cifar", 10)
    with pytest.raises(CompressionError, match=r"evil\.pt holds more than tensors"):
        load_weights_file(model, tmp_path / "evil.pt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.pt", None, "cannot be read"),
        ("a.safetensors", None, "cannot be read"),
        ("a.safetensors", b"none", "cannot be read"),
        ("a.pt", {"epoch": 3}, "holds no state dict"),
        ("a.pt", {"fc.weight": torch.zeros(1)}, "belong to another network"),
    ],
)
def test_a_file_that_is_no_weights_of_the_network_is_refused(
    file: str, content: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CompressionError, match=message):
        load_weights_file(models.build("simplenet_cifar", 10), path)
