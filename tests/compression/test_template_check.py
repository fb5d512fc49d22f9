"""A template checked against a network, and rendered for it and for the original Distiller."""

from typing import Any

import pytest
import yaml
from torch import nn

from stillhouse_compression.models import build
from stillhouse_compression.schedule.reading import check_schedule
from stillhouse_compression.template import Template, check_against_model, parse_template


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build("resnet20_cifar")


PRUNER = """
pruners:
  stage1:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8}
    weights: [layer1.*.conv1.weight]
policies:
  - {pruner: {instance_name: stage1}, starting_epoch: 0, ending_epoch: 3, frequency: 1}
"""


def paths(template: Template, model: nn.Module) -> list[str]:
    return [problem.path for problem in check_against_model(template, model)]


def test_a_sound_template_has_no_problems(resnet: nn.Module) -> None:
    assert check_against_model(parse_template(PRUNER, "epochs: 3"), resnet) == []


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("layer1.*.conv1", "layer9.*.conv1", "pruners.stage1.weights[0]"),
        ("class: L1R", "class: L3R", "pruners.stage1.class"),
        ("group_type: F", "grp_type: F", "pruners.stage1.grp_type"),
        ("low: 0.1", "low: 0.01", "pruners.stage1.final_sparsity"),
        ("high: 0.8", "high: 1.8", "pruners.stage1.final_sparsity"),
        ("ending_epoch: 3", "ending_epoch: 1", "policies[0]"),
        ("frequency: 1", "frequency: !int {low: 1, high: 9}", "policies[0].frequency"),
        ("starting_epoch: 0", "starting_epoch: 7", "policies[0].ending_epoch"),
    ],
)
def test_a_problem_stands_at_its_place_in_the_template(
    resnet: nn.Module, old: str, new: str, path: str
) -> None:
    template = parse_template(PRUNER.replace(old, new), "epochs: 3")
    assert path in paths(template, resnet)


def test_a_problem_of_one_branch_names_the_branch_and_the_templates_index(
    resnet: nn.Module,
) -> None:
    text = PRUNER + (
        "  - !optional {default: off, pruner: {instance_name: stage1}, epochs: [0]}\n"
        "  - {pruner: {instance_name: stage1}, starting_epoch: 0, ending_epoch: 0, frequency: 1}\n"
    )
    found = {p.path: p.message for p in check_against_model(parse_template(text), resnet)}
    # Where the second policy is off, the third is the rendered schedule's policies[1].
    assert set(found) == {"policies[1]", "policies[2].ending_epoch"}
    assert "when policies[1] = on" in found["policies[1]"]


def test_each_problem_is_told_once_with_its_line(resnet: nn.Module) -> None:
    template = parse_template(PRUNER.replace("layer1.*", "layer9.*"))
    (problem,) = check_against_model(template, resnet)
    assert "(line 8, column 15)" in problem.message


def test_training_is_checked_along_with_the_schedule(resnet: nn.Module) -> None:
    template = parse_template(PRUNER, "epochs: 3\nlr: !float {low: -1.0, high: 0.1}\nepoch: 4\n")
    assert set(paths(template, resnet)) == {"training.lr", "training.epoch"}


def test_two_ranges_that_only_clash_at_opposite_ends_are_found(resnet: nn.Module) -> None:
    text = PRUNER.replace(
        "initial_sparsity: 0.05", "initial_sparsity: !float {low: 0.0, high: 0.4}"
    )
    assert paths(parse_template(text), resnet) == ["pruners.stage1.final_sparsity"]


def test_a_policy_that_starts_after_training_is_a_problem(resnet: nn.Module) -> None:
    text = PRUNER + (
        "  - {lr_scheduler: {instance_name: decay}, starting_epoch: 5, ending_epoch: 9, "
        "frequency: 1}\nlr_schedulers: {decay: {class: ExponentialLR, gamma: 0.9}}\n"
    )
    template = parse_template(text, "epochs: !int {low: 3, high: 9}\nrecovery_epochs: 2\n")
    assert paths(template, resnet) == ["policies[1].starting_epoch"]


def test_pruning_that_would_reach_into_recovery_is_a_problem(resnet: nn.Module) -> None:
    text = PRUNER.replace("ending_epoch: 3", "ending_epoch: !int {low: 2, high: 5}")
    template = parse_template(text, "epochs: !int {low: 4, high: 9}\nrecovery_epochs: 1\n")
    assert paths(template, resnet) == ["policies[0].ending_epoch"]
    tied = PRUNER.replace("ending_epoch: 3", "ending_epoch: !ref training.epochs")
    assert paths(parse_template(tied, "epochs: !int {low: 2, high: 9}"), resnet) == []


def test_patterns_are_written_out_for_a_network(resnet: nn.Module) -> None:
    template = parse_template(PRUNER)
    rendered = template.render(template.default_config(), resnet)
    assert rendered.schedule["pruners"]["stage1"]["weights"] == [
        "layer1.0.conv1.weight",
        "layer1.1.conv1.weight",
        "layer1.2.conv1.weight",
    ]
    assert check_schedule(yaml.safe_load(rendered.schedule_yaml()), resnet) == []


def test_patterns_are_written_out_in_mappings_too(resnet: nn.Module) -> None:
    template = parse_template(
        "pruners:\n  p:\n    class: SparsityLevelParameterPruner\n"
        "    levels: {'layer1.0.*.weight': 0.5, fc.weight: 0.1, '*': 0.0}\npolicies: []\n"
    )
    levels = template.render({}, resnet).schedule["pruners"]["p"]["levels"]
    assert levels["layer1.0.conv2.weight"] == 0.5
    assert levels["fc.weight"] == 0.1
    assert levels["*"] == 0.0
    assert not any("*" in name for name in levels if name != "*")


ORIGINAL = """
pruners:
  coupled:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    group_dependency: Group
    mask_batchnorm: true
    group_size: 8
    initial_sparsity: 0
    final_sparsity: 0.5
    weights: [conv1.weight, layer1.*.conv2.weight]
  fine:
    class: AutomatedGradualPruner
    initial_sparsity: 0
    final_sparsity: 0.9
    weights: [fc.weight]
distillation: {temperature: 2.0}
lr_schedulers:
  decay: {class: ExponentialLR, gamma: 1e-5}
policies:
  - pruner: {instance_name: coupled}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""


def original(text: str, model: nn.Module | None) -> tuple[Any, tuple[str, ...]]:
    rendered = parse_template(text).render({}, model, dialect="original")
    return rendered.schedule, rendered.notes


def test_the_original_gets_a_leader_for_a_group_and_none_of_our_arguments(
    resnet: nn.Module,
) -> None:
    schedule, notes = original(ORIGINAL, resnet)
    assert schedule["pruners"]["coupled"] == {
        "class": "L1RankedStructureParameterPruner_AGP",
        "group_type": "Filters",
        "group_dependency": "Leader",
        "initial_sparsity": 1 / 16,  # of 16 filters it must prune one, or it dies
        "final_sparsity": 0.5,
        "weights": ["conv1.weight", *(f"layer1.{block}.conv2.weight" for block in range(3))],
    }
    assert schedule["pruners"]["fine"]["initial_sparsity"] == 1 / 640
    assert "distillation" not in schedule
    told = {note.split(": ")[0] for note in notes}
    assert told == {
        "distillation",
        "pruners.coupled.group_dependency",
        "pruners.coupled.group_size",
        "pruners.coupled.initial_sparsity",
        "pruners.coupled.mask_batchnorm",
        "pruners.fine.initial_sparsity",
    }


def test_the_originals_loader_reads_every_number_as_a_number(resnet: nn.Module) -> None:
    rendered = parse_template(ORIGINAL).render({}, resnet, dialect="original")
    text = rendered.schedule_yaml()
    assert "1.0e-05" in text
    read = yaml.safe_load(text)  # YAML 1.1, as the original reads it
    assert read["lr_schedulers"]["decay"]["gamma"] == 1e-5
    assert read == rendered.schedule


def test_without_a_network_the_original_is_warned_of_patterns_and_of_zero() -> None:
    _, notes = original(ORIGINAL, None)
    assert any("patterns are not read there" in note for note in notes)
    assert any(note.startswith("pruners.fine.initial_sparsity: 0 crashes") for note in notes)


def test_what_the_original_can_say_is_said_without_a_note(resnet: nn.Module) -> None:
    text = PRUNER.replace("!float {low: 0.1, high: 0.8}", "0.5")
    schedule, notes = original(text, resnet)
    assert notes == ()
    assert schedule == parse_template(text).render({}, resnet).schedule


def test_thinners_get_the_arguments_that_are_obligatory_there() -> None:
    schedule, notes = original("extensions:\n  thin: {class: FilterRemover}\npolicies: []\n", None)
    assert schedule["extensions"]["thin"]["thinning_func_str"] == "remove_filters"
    assert set(schedule["extensions"]["thin"]) == {"class", "thinning_func_str", "arch", "dataset"}
    assert notes
