"""Templates written from a network: what is tied together, and that they run as they are."""

import pytest
from torch import nn

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.models import available, build
from stillhouse_compression.template import Template, check_against_model, parse_template
from stillhouse_compression.template.prunable import bundles
from stillhouse_compression.template.writer import Method, write_template, write_training

SMALL = (3, 32, 32)
QUICK = ("resnet20_cifar", "plain20_cifar", "vgg16_bn_cifar", "simplenet_cifar")


@pytest.fixture(scope="module")
def resnet_template() -> Template:
    return parse_template(write_template("resnet20_cifar"), write_training())


@pytest.mark.parametrize(
    "name",
    [
        # Tracing takes seconds; of each family the default run takes the smallest.
        pytest.param(info.name, marks=() if info.name in QUICK else pytest.mark.slow)
        for info in available()
    ],
)
def test_the_template_of_every_network_checks_cleanly_against_it(name: str) -> None:
    template = parse_template(
        write_template(name, methods=("filters", "elements")), write_training()
    )
    assert check_against_model(template, build(name)) == []


@pytest.mark.parametrize(
    ("methods", "per"),
    [
        (("filters",), "model"),
        (("elements",), "layer"),
        (("rows",), "stage"),
        (("elements", "rows", "filters"), "layer"),
        (("elements", "rows", "filters"), "stage"),
        (("elements", "rows", "filters"), "model"),
    ],
)
def test_every_method_and_grouping_checks_cleanly(methods: tuple[Method, ...], per: str) -> None:
    model = build("resnet20_cifar")
    text = write_template(model, SMALL, methods, per)  # type: ignore[arg-type]  # parametrised text
    template = parse_template(text, write_training())
    assert check_against_model(template, model) == []
    assert parse_template(template.to_yaml(), template.training_to_yaml()) == template


def test_resnet_20_has_three_stages_of_three_free_layers_and_three_coupled_groups_of_four() -> None:
    found = {b.name: b.weights for b in bundles(build("resnet20_cifar"), SMALL, "stage")}
    assert found == {
        "stage1": tuple(f"layer1.{block}.conv1.weight" for block in range(3)),
        "stage2": tuple(f"layer2.{block}.conv1.weight" for block in range(3)),
        "stage3": tuple(f"layer3.{block}.conv1.weight" for block in range(3)),
        "stage1_coupled": (
            "conv1.weight",
            *(f"layer1.{block}.conv2.weight" for block in range(3)),
        ),
        "stage2_coupled": (
            "layer2.0.conv2.weight",
            "layer2.0.downsample.0.weight",
            "layer2.1.conv2.weight",
            "layer2.2.conv2.weight",
        ),
        "stage3_coupled": (
            "layer3.0.conv2.weight",
            "layer3.0.downsample.0.weight",
            "layer3.1.conv2.weight",
            "layer3.2.conv2.weight",
        ),
        "linear": ("fc.weight",),
    }


def test_coupled_layers_are_ranked_as_a_group_and_their_batchnorm_goes_along(
    resnet_template: Template,
) -> None:
    pruner = resnet_template.render(resnet_template.default_config()).schedule["pruners"][
        "stage2_coupled"
    ]
    assert pruner["group_dependency"] == "Group"
    assert pruner["mask_batchnorm"] is True


def test_pruning_ends_with_the_schedules_epochs_whatever_they_are(
    resnet_template: Template,
) -> None:
    for config in resnet_template.extremes():
        rendered = resnet_template.render(config)
        epochs = rendered.training["epochs"]
        assert {policy["ending_epoch"] for policy in rendered.schedule["policies"]} == {epochs}
        assert rendered.training["recovery_epochs"] >= 1


def test_per_model_one_sparsity_serves_all_free_and_one_all_coupled_layers() -> None:
    template = parse_template(write_template("resnet20_cifar", per="model"), write_training())
    assert [p.name for p in template.parameters if p.name.startswith("pruners.")] == [
        "pruners.free.final_sparsity",
        "pruners.coupled1.final_sparsity",
    ]
    config = {**template.default_config(), "pruners.coupled1.final_sparsity": 0.375}
    pruners = template.render(config).schedule["pruners"]
    assert [pruners[f"coupled{n}"]["final_sparsity"] for n in (1, 2, 3)] == [0.375] * 3


def test_two_methods_become_a_choice_without_two_pruners_on_one_tensor() -> None:
    text = write_template("resnet20_cifar", methods=("filters", "elements"), per="model")
    template = parse_template(text, write_training())
    for config in template.extremes():
        pruners = template.render(config).schedule["pruners"]
        weights = [name for pruner in pruners.values() for name in pruner["weights"]]
        assert len(weights) == len(set(weights))


def test_the_group_size_of_a_device_is_written() -> None:
    template = parse_template(write_template("resnet20_cifar", group_size=8), write_training())
    pruners = template.render(template.default_config()).schedule["pruners"]
    assert {pruner["group_size"] for pruner in pruners.values()} == {8}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "resnet21_cifar"}, "resnet20_cifar"),
        ({"model": "resnet20_cifar", "methods": ("filter",)}, "did you mean 'filters'"),
        ({"model": "resnet20_cifar", "methods": ()}, "at least one method"),
        ({"model": "resnet20_cifar", "per": "block"}, "layer, stage, model"),
        ({"model": nn.Linear(3, 2)}, "input_shape"),
        ({"model": nn.Sequential(nn.Conv2d(3, 4, 1)), "input_shape": SMALL}, "nothing to prune"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(CompressionError, match=words):
        write_template(**arguments)  # type: ignore[arg-type]  # wrong on purpose
