"""Thinning keeps the outputs of real networks: residual, concatenating, grouped, flattening."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stillhouse_compression import models
from stillhouse_compression.thinning import ThinningReport, channel_units, thin
from stillhouse_compression.weights import load_weights, weights_to_bytes


def kill_units(model: nn.Module, shape: tuple[int, int, int], share: float) -> int:
    """Zero about ``share`` of the cuttable channels everywhere: filters, biases, BatchNorm."""
    generator = torch.Generator().manual_seed(1)
    n_killed = 0
    with torch.no_grad():
        for unit in channel_units(model, shape):
            if unit.protection is None and torch.rand(1, generator=generator).item() < share:
                n_killed += 1
                for slot in unit.slots:
                    if slot.side == "out":
                        for parameter in model.get_submodule(slot.module).parameters(recurse=False):
                            parameter[slot.index] = 0.0
    return n_killed


def stir(model: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and offsets that would show if they were cut wrongly."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0.0, 0.5, generator=generator)
    return model.eval()


def compare(model: nn.Module, shape: tuple[int, int, int], share: float = 0.4) -> ThinningReport:
    """Kill, thin, and check by an own forward pass that nothing changed but rounding."""
    model = stir(model).double()
    assert kill_units(model, shape, share) > 0
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        before = model(x)
        report = thin(model, shape)
        after = model(x)
    assert report.cut
    assert float((after - before).abs().max()) <= 1e-12 * max(1.0, float(before.abs().max()))
    return report


@pytest.mark.parametrize(
    ("name", "least_cut"),
    [
        ("resnet20_cifar", 0.5),
        ("resnet56_cifar", 0.5),
        ("plain20_cifar", 0.5),
        ("simplenet_cifar", 0.25),
        ("mobilenet_v2_cifar", 0.5),
    ],
)
def test_a_named_network_keeps_its_outputs(name: str, least_cut: float) -> None:
    torch.manual_seed(0)
    report = compare(models.build(name), (3, 32, 32))
    assert report.macs[1] < (1.0 - least_cut) * report.macs[0]
    assert report.stayed == ()


@pytest.mark.parametrize("name", ["vgg16_cifar", "vgg16_bn_cifar"])
def test_vgg16_keeps_its_outputs(name: str) -> None:
    torch.manual_seed(0)
    assert compare(models.build(name), (3, 32, 32)).stayed == ()


def _bn(n: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(n), nn.ReLU())


class Dense(nn.Module):
    """Two DenseNet steps and a transition: each layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1, self.one = _bn(8), nn.Conv2d(8, 6, 3, padding=1)
        self.bn2, self.two = _bn(14), nn.Conv2d(14, 6, 3, padding=1)
        self.bn3, self.transition = _bn(20), nn.Conv2d(20, 10, 1)
        self.fc = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.one(self.bn1(x))], 1)
        x = torch.cat([x, self.two(self.bn2(x))], 1)
        out: Tensor = self.fc(self.transition(self.bn3(x)).relu().mean((2, 3)))
        return out


class Inception(nn.Module):
    """Branches of different width, concatenated, flattened into a linear layer over a 4x4 map.

    Args:
        joins_input: Whether the image itself is a branch, too.
    """

    def __init__(self, joins_input: bool = False) -> None:
        super().__init__()
        self.joins_input = joins_input
        self.a = nn.Conv2d(3, 5, 1)
        self.b = nn.Sequential(nn.Conv2d(3, 7, 1), nn.ReLU(), nn.Conv2d(7, 4, 3, padding=1))
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear((5 + 4 + 3 * joins_input) * 16, 9)
        self.fc2 = nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.a(x).relu(), self.b(x).relu(), *([x] if self.joins_input else [])]
        y = torch.cat(branches, 1)
        out: Tensor = self.fc2(self.fc1(self.pool(y).flatten(1)).relu())
        return out


class ResNeXt(nn.Module):
    """A grouped 3x3 between two 1x1, added to its input."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.reduce = nn.Conv2d(8, 12, 1)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=groups)
        self.expand = nn.Conv2d(12, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.expand(self.grouped(self.reduce(x).relu()).relu())
        out: Tensor = self.fc(x.relu().mean((2, 3)))
        return out


class UpDown(nn.Module):
    """A transposed convolution, PReLU and a skip connection by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 2, stride=2)
        self.act = nn.PReLU(8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.head = nn.Conv2d(9, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.cat([self.up(self.act(self.down(x))).relu(), x], 1))
        return out


class Crossing(nn.Module):
    """Concatenation of a split: channels cross over, then halves are added."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 1)
        self.two = nn.Conv2d(8, 8, 1)
        self.three = nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.one(x).relu().chunk(2, dim=1)
        halves = self.two(torch.cat([right, left], 1)).relu().chunk(2, dim=1)
        out: Tensor = self.three(halves[0] + halves[1])
        return out


@pytest.mark.parametrize("make", [Dense, Inception, UpDown])
def test_a_network_that_concatenates_keeps_its_outputs(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    compare(make(), (3, 8, 8))


def test_parts_beside_the_input_image_stay_masked() -> None:
    """The graph library does not see the image among the parts, so it cannot count channels."""
    torch.manual_seed(0)
    model = Inception(joins_input=True)
    with torch.no_grad():
        model.a.weight[[0, 3]] = 0.0
    report = compare(model, (3, 8, 8))
    cut = {layer.layer for layer in report.cut if layer.filters[0] != layer.filters[1]}
    assert cut == {"b.0", "fc1"}
    assert [(item.layer, item.n, item.reason) for item in report.stayed] == [
        ("a", 2, "the parts of a concatenation cannot be told apart")
    ]


def test_split_channels_stay_masked_and_the_report_says_so() -> None:
    model = Crossing()
    with torch.no_grad():
        model.one.weight[[0, 4]] = 0.0
        model.two.weight[[1, 5]] = 0.0
    report = thin(model, (3, 8, 8))
    assert report.cut == ()
    assert {(item.layer, item.n, item.reason) for item in report.stayed} == {
        ("one", 2, "channels cannot be followed through split"),
        ("two", 2, "channels cannot be followed through split"),
    }


def test_a_grouped_convolution_keeps_its_groups_even() -> None:
    """Groups of 4 filters; 3, 1 and 2 of them zero: one goes from each, the rest stays."""
    torch.manual_seed(0)
    model = ResNeXt(groups=3)
    with torch.no_grad():
        for index in (0, 1, 2, 5, 8, 10):
            model.grouped.weight[index] = 0.0
            assert model.grouped.bias is not None
            model.grouped.bias[index] = 0.0
    x = torch.randn(2, 3, 8, 8)
    before = model(x)
    report = thin(model, (3, 8, 8))
    assert (model.grouped.out_channels, model.grouped.groups) == (9, 3)
    assert model.expand.in_channels == 9
    assert [(item.layer, item.n) for item in report.stayed] == [("grouped", 3)]
    assert "3 groups of grouped must stay equally wide" in report.stayed[0].reason
    assert torch.allclose(model(x), before, atol=1e-6)


def test_a_grouped_convolution_loses_the_same_inputs_in_every_group() -> None:
    torch.manual_seed(0)
    model = ResNeXt(groups=2)
    with torch.no_grad():
        for index in (0, 6, 3):  # position 0 in both groups, position 3 in the first alone
            model.reduce.weight[index] = 0.0
            assert model.reduce.bias is not None
            model.reduce.bias[index] = 0.0
    x = torch.randn(2, 3, 8, 8)
    before = model(x)
    report = thin(model, (3, 8, 8))
    assert model.reduce.out_channels == model.grouped.in_channels == 10
    assert [(item.layer, item.n) for item in report.stayed] == [("reduce", 1)]
    assert torch.allclose(model(x), before, atol=1e-6)


def test_a_depthwise_filter_goes_only_with_the_filter_it_reads() -> None:
    """Expansion and depthwise are coupled: zero in one alone is not enough."""
    torch.manual_seed(0)
    model = models.build("mobilenet_v2_cifar").eval()
    expand, depthwise = "features.2.conv.0.0", "features.2.conv.1.0"
    with torch.no_grad():
        for layer, filters in ((expand, [0, 1]), (depthwise, [1, 2])):
            model.get_submodule(layer).weight[filters] = 0.0  # type: ignore[operator]  # Tensor
    report = thin(model, (3, 32, 32))
    module = model.get_submodule(depthwise)
    assert isinstance(module, nn.Conv2d)
    assert module.groups == module.in_channels == module.out_channels == 95
    assert {(item.layer, item.n, item.reason) for item in report.stayed} == {
        (expand, 1, f"not zero in {depthwise}"),
        (depthwise, 1, f"not zero in {expand}"),
    }


@pytest.mark.parametrize("name", ["resnet20_cifar", "simplenet_cifar", "mobilenet_v2_cifar"])
def test_a_thinned_networks_weights_load_into_the_dense_one(name: str) -> None:
    torch.manual_seed(0)
    model = stir(models.build(name))
    kill_units(model, (3, 32, 32), 0.5)
    thin(model, (3, 32, 32))
    twin = models.build(name)
    load_weights(twin, weights_to_bytes(model))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), twin.eval()(x))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin.train()(x).sum().backward()
    optimizer.step()
