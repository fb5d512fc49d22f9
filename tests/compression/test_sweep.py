"""A sweep's cases, and the best of them composed: schedules that run, layers as the network has."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_compression.errors import SettingsError
from stillhouse_compression.models import build
from stillhouse_compression.schedule.reading import check_schedule
from stillhouse_compression.sweep import ALGORITHMS, Entry, Member, compose, sweep_cases
from stillhouse_compression.sweep.cases import own_case, unchanged
from stillhouse_compression.sweep.composition import tensors_of
from stillhouse_compression.template import check_against_model, parse_template
from stillhouse_compression.template.sweep_writer import Gain, write_sweep_template

RESNET = build("resnet20_cifar", 10)
SHAPE = (3, 32, 32)
FREE = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)]


def names_of(algorithm: str, *layers: str) -> list[str]:
    cases = sweep_cases(RESNET, SHAPE, [Entry(algorithm, layers, (0.5,))], 3)
    return [case.layers for case in cases]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_runs_on_every_layer_set_at_its_levels(name: str) -> None:
    cases = sweep_cases(RESNET, SHAPE, [Entry(name)], 2)
    assert len({case.name for case in cases}) == len(cases)
    assert {case.scope for case in cases} == {"all", "stage", "layer"}
    for case in cases[:: len(cases) // 5]:
        assert check_schedule(case.schedule, RESNET) == []
    assert all(case.weights for case in cases)


def test_filters_that_an_addition_couples_count_as_one_layer() -> None:
    groups = ["conv1+3", "layer2.0.conv2+3", "layer3.0.conv2+3"]
    assert sorted(names_of("filters_l1", "layer")) == sorted(FREE + groups)
    (case,) = sweep_cases(RESNET, SHAPE, [Entry("filters_l1", ("conv1+3",), (0.5,))], 3)
    (pruner,) = case.schedule["pruners"].values()
    assert pruner["group_dependency"] == "Group"
    assert pruner["weights"] == ["conv1.weight"] + [f"layer1.{i}.conv2.weight" for i in range(3)]


def test_only_who_can_rank_coupled_layers_together_gets_them() -> None:
    assert names_of("filters_apoz", "layer") == FREE


def test_the_lasso_s_threshold_is_the_quantile_of_a_layers_own_filters() -> None:
    network = build("simplenet_cifar", 10)
    weight = network.get_parameter("conv1.weight")
    with torch.no_grad():  # filter k has magnitudes k + 1 throughout
        for k in range(len(weight)):
            weight[k] = (k + 1) * (-1) ** k
    (case,) = sweep_cases(network, SHAPE, [Entry("filters_lasso", ("conv1",), (0.25,))], 2)
    (threshold, kind) = case.schedule["pruners"]["threshold"]["reg_regims"]["conv1.weight"]
    assert kind == "Filters"
    assert threshold == pytest.approx(1 + 0.25 * (len(weight) - 1))


def test_channels_go_where_one_layer_alone_reads_them() -> None:
    # the inputs of a block's second convolution are the filters of its first
    assert names_of("channels_l1", "layer") == [name.replace("conv1", "conv2") for name in FREE]


def test_single_weights_go_in_every_convolution_and_the_linear_layer() -> None:
    layers = names_of("element_agp", "layer")
    assert (len(layers), layers[0], layers[-1]) == (22, "conv1", "fc")


def test_a_set_is_named_once_however_often_it_is_asked_for() -> None:
    assert names_of("filters_l1", "stage2", "stage", "stage2") == ["stage2", "stage1", "stage3"]


def test_everything_wrong_with_a_plan_is_named_at_once() -> None:
    entries = [Entry("magic"), Entry("filters_l1", ("attic",)), Entry("filters_l2", ("all",), (1,))]
    with pytest.raises(SettingsError) as error:
        sweep_cases(RESNET, SHAPE, entries, 1)
    paths = [problem.path for problem in error.value.problems]
    assert paths == ["training.epochs", "grid[0].algorithm", "grid[1].layers", "grid[2].levels[0]"]


def test_the_control_changes_nothing() -> None:
    case = unchanged()
    assert (case.schedule["policies"], case.training["epochs"]) == ([], 0)
    assert check_schedule(case.schedule, RESNET) == []


def test_patterns_of_an_own_schedule_are_written_out() -> None:
    schedule = {
        "pruners": {
            "a": {"class": "SparsityLevelParameterPruner", "levels": {"layer1.*.conv1.weight": 0.5}}
        },
        "policies": [{"pruner": {"instance_name": "a"}, "epochs": [0]}],
    }
    case = own_case("mine", schedule, RESNET)
    assert case.weights == tuple(f"layer1.{i}.conv1.weight" for i in range(3))
    assert case.schedule["pruners"]["a"]["levels"] == dict.fromkeys(case.weights, 0.5)
    with pytest.raises(SettingsError, match=r"layer9"):
        wrong = {"class": "AutomatedGradualPruner", "weights": ["layer9.weight"]}
        own_case("wrong", {**schedule, "pruners": {"a": wrong}}, RESNET)


def pruner(*weights: str, group: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"class": "P", "weights": list(weights)}
    return found | ({"group_dependency": group} if group else {})


def member(name: str, **pruners: dict[str, Any]) -> Member:
    policies = [{"pruner": {"instance_name": one}, "epochs": [0]} for one in pruners]
    return Member(name, {"pruners": pruners, "policies": policies})


def test_a_tensor_stays_with_who_comes_first() -> None:
    schedule, conflicts = compose(
        [member("fast", p=pruner("a", "b")), member("slow", p=pruner("b", "c"), q=pruner("a"))]
    )
    assert schedule["pruners"]["fast_p"]["weights"] == ["a", "b"]
    assert schedule["pruners"]["slow_p"]["weights"] == ["c"]
    assert "slow_q" not in schedule["pruners"]
    named = [policy["pruner"]["instance_name"] for policy in schedule["policies"]]
    assert named == ["fast_p", "slow_p"]
    assert [(c.tensor, c.kept_by, c.lost_by) for c in conflicts] == [
        ("a", "fast", "slow"),
        ("b", "fast", "slow"),
    ]


def test_layers_that_are_ranked_together_leave_together() -> None:
    schedule, conflicts = compose(
        [member("fast", p=pruner("a")), member("slow", p=pruner("a", "b", group="Group"))]
    )
    assert list(schedule["pruners"]) == ["fast_p"]
    assert [c.tensor for c in conflicts] == ["a"]


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), max_size=4))
def test_no_tensor_of_a_composition_has_two_pruners(parts: list[list[str]]) -> None:
    members = [member(f"m{i}", p=pruner(*weights)) for i, weights in enumerate(parts)]
    schedule, _ = compose(members)
    owned = [t for one in schedule.get("pruners", {}).values() for t in tensors_of(one)]
    assert len(owned) == len(set(owned))
    assert set(owned) == {t for weights in parts for t in weights}


def test_what_gained_becomes_a_template_that_fits() -> None:
    l1, l2 = (f"L{n}RankedStructureParameterPruner_AGP" for n in (1, 2))
    free = tuple(f"layer1.{i}.conv1.weight" for i in range(3))
    coupled = ("conv1.weight", *(f"layer1.{i}.conv2.weight" for i in range(3)))
    gains = [
        Gain("stage1", (l1, l2), free, False, 0.1, 0.8, 0.5, "why " * 60),
        Gain("stage1_coupled", (l1,), coupled, True, 0.05, 0.3, 0.2, "because"),
    ]
    text = write_sweep_template("from a sweep", gains, ["layer3.0.conv1: it gained nothing"])
    template = parse_template(text, "epochs: !int {low: 2, high: 4}\n")
    assert check_against_model(template, RESNET) == []
    assert {one.name for one in template.parameters} == {
        "pruners.stage1.class",
        "pruners.stage1.final_sparsity",
        "pruners.stage1_coupled.final_sparsity",
        "training.epochs",
    }
    assert "# * layer3.0.conv1: it gained nothing" in text
    assert max(len(line) for line in text.splitlines()) <= 100
