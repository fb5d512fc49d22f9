"""Thinning cuts only what is zero in every coupled layer; the rest stays and is named."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stillhouse_compression import dict_config, models
from stillhouse_compression.errors import ThinningError, TrainingDiverged
from stillhouse_compression.thinning import coupled_groups, thin

SHAPE = (3, 8, 8)


class Residual(nn.Module):
    """A stem whose output is added to a block's: ``stem`` and ``second`` are coupled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.first = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.second(self.bn(self.first(x)).relu())
        out: Tensor = self.fc(x.relu().mean((2, 3)))
        return out


def zero_filters(model: nn.Module, layer: str, filters: list[int]) -> None:
    with torch.no_grad():
        model.get_submodule(layer).weight[filters] = 0.0  # type: ignore[operator]  # a Tensor


def stayed(report: object, layer: str) -> list[tuple[str, int, str]]:
    items = report.stayed  # type: ignore[attr-defined]  # a ThinningReport
    return [(item.part, item.n, item.reason) for item in items if item.layer == layer]


def test_a_filter_that_is_zero_in_one_member_only_stays_and_is_reported() -> None:
    model = Residual()
    zero_filters(model, "stem", [0, 1, 2])
    zero_filters(model, "second", [2, 3])
    report = thin(model, SHAPE)
    assert model.stem.out_channels == model.second.out_channels == 5  # filter 2 alone is gone
    assert torch.count_nonzero(model.stem.weight.flatten(1), dim=1).tolist()[:2] == [0, 0]
    assert stayed(report, "stem") == [("filters", 2, "not zero in second")]
    assert stayed(report, "second") == [("filters", 1, "not zero in stem")]
    assert {item.group for item in report.stayed} == {("stem", "second")}
    assert report.coupled == (("stem", "second"),)


def test_a_remover_prints_the_group_what_was_cut_and_what_stayed_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = Residual()
    zero_filters(model, "stem", [0, 1, 2])
    zero_filters(model, "second", [2, 3])
    extension = {"class": "FilterRemover", "input_shape": list(SHAPE)}
    policy = {"extension": {"instance_name": "x"}, "epochs": [3]}
    scheduler = dict_config(model, None, {"extensions": {"x": extension}, "policies": [policy]})
    scheduler.on_minibatch_begin(3, 0, 2)
    scheduler.on_minibatch_begin(3, 1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "thinning in epoch 3:"
    assert "coupled: stem, second" in lines
    assert "cut stem: 6 -> 5 filters" in lines
    assert "stays masked: 2 filters of stem: not zero in second (coupled: stem, second)" in lines
    assert sum("MACs" in line for line in lines) == 1  # in the first minibatch alone


def test_a_free_layer_loses_exactly_its_zero_filters() -> None:
    torch.manual_seed(0)
    model = Residual()
    kept = model.first.weight[[1, 2, 4, 5, 7]].detach().clone()
    reading = model.second.weight[:, [1, 2, 4, 5, 7]].detach().clone()
    zero_filters(model, "first", [0, 3, 6])
    report = thin(model, SHAPE)
    assert torch.equal(model.first.weight, kept)
    assert torch.equal(model.second.weight, reading)
    assert model.bn.num_features == 5 and model.bn.running_mean is not None
    assert model.bn.running_mean.shape == (5,)
    assert [(c.layer, c.filters, c.channels) for c in report.cut] == [
        ("first", (8, 5), (6, 6)),
        ("second", (6, 6), (8, 5)),
    ]
    assert report.stayed == ()
    assert report.n_filters_cut == 3
    # 3 of 8 filters of 6x9 weights, as many of the reader's, and gamma and beta of each.
    assert report.params[0] - report.params[1] == 3 * 54 + 6 * 3 * 9 + 2 * 3


def test_input_channels_that_nobody_reads_take_their_filters_along() -> None:
    model = Residual()
    with torch.no_grad():
        model.second.weight[:, [1, 5]] = 0.0
    before = model.eval()(torch.ones(1, *SHAPE))
    report = thin(model, SHAPE, parts=("channels",))
    assert model.first.out_channels == model.second.in_channels == 6
    assert torch.allclose(model(torch.ones(1, *SHAPE)), before, atol=1e-6)
    assert report.output_change <= 1e-6 * max(1.0, report.output_scale)


def test_a_residual_channel_goes_when_all_its_readers_ignore_it() -> None:
    model = Residual()
    with torch.no_grad():
        model.first.weight[:, [0, 4]] = 0.0
        model.fc.weight[:, 4] = 0.0
    report = thin(model, SHAPE, parts=("channels",))
    assert model.stem.out_channels == 5
    assert stayed(report, "first") == [("channels", 1, "not zero in fc")]


def test_filters_alone_leave_input_channels_alone() -> None:
    model = Residual()
    with torch.no_grad():
        model.second.weight[:, [1, 5]] = 0.0
    report = thin(model, SHAPE, parts=("filters",))
    assert report.cut == () and model.first.out_channels == 8


@pytest.mark.parametrize("layers", [("first",), ("stem", "second")])
def test_a_layer_never_loses_its_last_filter(layers: tuple[str, ...]) -> None:
    model = Residual()
    for layer in layers:
        zero_filters(model, layer, list(range(8 if layer == "first" else 6)))
    report = thin(model, SHAPE)
    for layer in layers:
        module = model.get_submodule(layer)
        assert isinstance(module, nn.Conv2d)
        assert module.out_channels == 1
        left = [item for item in stayed(report, layer) if item[0] == "filters"]
        assert [n for _, n, _ in left] == [1]
        assert "would be empty" in left[0][2]


def test_the_networks_outputs_are_never_cut() -> None:
    model = Residual()
    zero_filters(model, "fc", [1])
    report = thin(model, SHAPE)
    assert model.fc.out_features == 4
    assert stayed(report, "fc") == [("filters", 1, "its output is the network's output")]


def _integers() -> Residual:
    """Integers all through, so that sums are exact in whatever order they are taken."""
    model = Residual().double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=generator))
        model.bn.eps = 0.0
        assert model.bn.running_mean is not None
        model.bn.running_mean.fill_(2.0)
        for pruned in (model.first.weight, model.bn.weight, model.bn.bias):
            pruned[[0, 3, 6]] = 0.0
        for layer in (model.stem, model.second):
            layer.weight[2] = 0.0
    return model


def test_a_filter_whose_batchnorm_is_zero_too_leaves_no_trace() -> None:
    model = _integers()
    report = thin(model, SHAPE)
    assert report.n_filters_cut == 5
    assert report.output_change <= 1e-12 * report.output_scale
    x = torch.randint(-8, 9, (4, *SHAPE), generator=torch.Generator().manual_seed(1)).double() / 4
    assert torch.equal(model.eval()(x), _integers().eval()(x))  # 0, not nearly 0


def test_a_constant_that_is_dropped_shows_in_the_report() -> None:
    """Without mask_batchnorm a zero filter emits relu(beta): 5 here, through weights of 1."""
    model = Residual()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        model.first.weight[0] = 0.0
        model.bn.bias.fill_(5.0)
    report = thin(model, SHAPE)
    # Each inner pixel of each of 6 filters loses 9 x 5; an edge loses a third of its nine.
    inner = (6 * 6 * 9 + 4 * 6 * 6 + 4 * 4) * 5 / 64
    assert report.output_change == pytest.approx(6 * inner, rel=1e-3)


def test_resnet20_has_three_groups_of_four() -> None:
    assert coupled_groups(models.build("resnet20_cifar"), (3, 32, 32)) == [
        ["conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2"],
        ["layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2", "layer2.2.conv2"],
        ["layer3.0.conv2", "layer3.0.downsample.0", "layer3.1.conv2", "layer3.2.conv2"],
    ]


def test_thinning_twice_cuts_nothing_more() -> None:
    model = Residual()
    zero_filters(model, "first", [0, 3, 6])
    thin(model, SHAPE)
    assert thin(model, SHAPE).cut == ()


def test_modes_gradients_and_frozen_weights_stay_as_they_were() -> None:
    model = Residual().train()
    model.bn.eval()
    model.stem.weight.requires_grad_(False)
    zero_filters(model, "first", [0])
    thin(model, SHAPE)
    assert model.training and not model.bn.training
    assert not model.stem.weight.requires_grad and model.first.weight.requires_grad


def test_diverged_weights_are_refused() -> None:
    model = Residual()
    with torch.no_grad():
        model.first.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(TrainingDiverged, match=r"first\.weight"):
        thin(model, SHAPE)


class Crossed(nn.Module):
    """Reshapes channels into pixels: nobody can follow them through it."""

    def __init__(self, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 1)
        self.two = nn.Conv2d(8, 4, 1)
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.mix(self.one(x)))
        return out


def test_a_network_that_would_not_run_after_the_cut_is_left_as_it_was() -> None:
    model = Crossed(lambda x: x.reshape(x.shape[0], 8, 8, 8).transpose(1, 2).contiguous())
    zero_filters(model, "one", [3])
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ThinningError, match="does not run after the cut"):
        thin(model, SHAPE, optimizer)
    assert model.one.out_channels == 8 and model.two.in_channels == 8
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert optimizer.param_groups[0]["params"][0] is model.one.weight


def test_a_layer_that_runs_twice_is_not_cut() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Conv2d(3, 3, 1)
            self.outside = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.outside(self.inside(self.inside(x)))
            return out

    model = Twice()
    zero_filters(model, "inside", [1])
    report = thin(model, SHAPE)
    assert report.cut == ()
    assert stayed(report, "inside") == [("filters", 1, "inside runs more than once")]
