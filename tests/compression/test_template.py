"""What search tags in a schedule mean: parameters, conditions, references, rendering."""

import json
from random import Random
from typing import Any

import pytest
import yaml

from stillhouse_compression.template import Template, parse_template
from stillhouse_compression.template.errors import TemplateErrors

# The page that settles the language shows this template (shortened to what runs).
DESIGN = """
version: 1
pruners:
  stage1:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
    weights: [layer1.*.conv1.weight]
  head: !choice
    fine:
      class: AutomatedGradualPruner
      initial_sparsity: 0.05
      final_sparsity: !float {low: 0.5, high: 0.95}
      weights: [fc.weight]
    rows:
      class: L1RankedStructureParameterPruner_AGP
      group_type: Rows
      initial_sparsity: 0.05
      final_sparsity: !float {low: 0.1, high: 0.5}
      weights: [fc.weight]
policies:
  - pruner: {instance_name: stage1}
    starting_epoch: 0
    ending_epoch: !int {low: 2, high: 8}
    frequency: 1
  - pruner: {instance_name: head}
    starting_epoch: 0
    ending_epoch: !ref {name: training.epochs, offset: -1}
    frequency: 1
"""
TRAINING = (
    "epochs: !int {low: 3, high: 9, default: 4}\nlr: !float {low: 1e-4, high: 1e-1, log: true}\n"
)


def schedule_of(template: Template, **config: Any) -> Any:
    """Render the default config with some values changed."""
    return template.render({**template.default_config(), **config}).schedule


def one(tag: str) -> Template:
    """A template with one tag, at ``version``."""
    return parse_template(f"version: {tag}\n")


def test_a_parameter_is_named_by_its_path_and_a_policy_by_its_instance() -> None:
    template = parse_template(DESIGN, TRAINING)
    assert [parameter.name for parameter in template.parameters] == [
        "pruners.stage1.final_sparsity",
        "pruners.head",
        "pruners.head.fine.final_sparsity",
        "pruners.head.rows.final_sparsity",
        "policies.stage1.ending_epoch",
        "training.epochs",
        "training.lr",
    ]


def test_a_problem_crosses_as_the_door_says() -> None:
    problem = parse_template(DESIGN, TRAINING).to_problem()
    assert problem["parameters"][0] == {
        "name": "pruners.stage1.final_sparsity",
        "kind": "float",
        "low": 0.1,
        "high": 0.8,
        "log": False,
        "step": None,
        "default": 0.3,
        "condition": None,
    }
    assert problem["parameters"][2]["condition"] == [{"parent": "pruners.head", "values": ["fine"]}]
    assert json.loads(json.dumps(problem)) == problem


def test_the_other_blocks_parameters_are_inactive() -> None:
    config = parse_template(DESIGN, TRAINING).default_config()
    assert "pruners.head.fine.final_sparsity" in config
    assert "pruners.head.rows.final_sparsity" not in config


def test_rendering_fills_in_the_config_and_leaves_no_tag() -> None:
    template = parse_template(DESIGN, TRAINING)
    rendered = template.render(
        {
            "pruners.stage1.final_sparsity": 0.30000000000000004,
            "pruners.head": "rows",
            "pruners.head.rows.final_sparsity": 0.25,
            "policies.stage1.ending_epoch": 7,
            "training.epochs": 6,
            "training.lr": 1e-3,
        }
    )
    schedule = rendered.schedule
    assert schedule["pruners"]["stage1"]["final_sparsity"] == 0.30000000000000004
    assert schedule["pruners"]["head"]["group_type"] == "Rows"
    assert schedule["pruners"]["head"]["final_sparsity"] == 0.25
    assert [policy["ending_epoch"] for policy in schedule["policies"]] == [7, 5]
    assert rendered.training == {"epochs": 6, "lr": 0.001}
    text = rendered.schedule_yaml()
    assert "!" not in text
    assert yaml.safe_load(text) == schedule


@pytest.mark.parametrize(
    ("tag", "default"),
    [
        ("!float {low: 0.1, high: 0.5}", 0.3),  # the middle, in decimal
        ("!float {low: 1e-4, high: 1e-2, log: true}", 1e-3),  # the geometric middle
        ("!float {low: 0, high: 1, step: 0.25}", 0.5),
        ("!int {low: 2, high: 8}", 5),
        ("!int {low: 1, high: 64, log: true}", 8),
        ("!int {low: 2, high: 9, step: 3}", 5),  # of 2, 5, 8
        ("!choice [a, b]", "a"),
        ("!ordinal [8, 16, 32]", 8),
        ("!choice {choices: [a, b], default: b}", "b"),
    ],
)
def test_a_default_that_is_not_given_is_the_middle_or_the_first(tag: str, default: Any) -> None:
    assert one(tag).default_config() == {"version": default}


@pytest.mark.parametrize("text", ["1e-5", "1E-05", "1.0e-5", ".1e-4", "0.00001"])
def test_a_float_without_a_dot_is_a_float(text: str) -> None:
    assert parse_template(f"version: {text}").render({}).schedule == {"version": 1e-5}


def test_the_type_of_a_choice_survives() -> None:
    template = one("!choice [true, null, 1.5, 2, 'on', '1e-5']")
    rendered = [template.render({"version": value}) for value in template.parameters[0].choices]
    values = [each.schedule["version"] for each in rendered]
    assert [type(value) for value in values] == [bool, type(None), float, int, str, str]
    assert values == [True, None, 1.5, 2, "on", "1e-5"]
    for each in rendered:
        assert parse_template(each.schedule_yaml()).render({}).schedule == each.schedule


def test_an_optional_block_is_a_choice_of_off_and_on() -> None:
    template = parse_template(
        "pruners:\n  p: {class: A}\npolicies:\n"
        "  - !optional\n    name: use_p\n    default: off\n    pruner: {instance_name: p}\n"
        "  - {pruner: {instance_name: p}, epochs: [1]}\n"
    )
    (use,) = template.parameters
    assert (use.name, use.kind, use.choices, use.default) == (
        "use_p",
        "choice",
        ("off", "on"),
        "off",
    )
    assert len(schedule_of(template, use_p="off")["policies"]) == 1
    assert schedule_of(template, use_p="on")["policies"][0] == {"pruner": {"instance_name": "p"}}


def test_an_empty_block_of_a_choice_leaves_the_entry_out() -> None:
    template = parse_template("pruners:\n  p: !choice\n    none:\n    some: {class: A}\n")
    assert schedule_of(template, **{"pruners.p": "none"}) == {"pruners": {}}
    assert schedule_of(template, **{"pruners.p": "some"}) == {"pruners": {"p": {"class": "A"}}}


def test_nested_choices_have_several_parents() -> None:
    template = parse_template(
        "a: !choice\n  x: {b: !choice {u: {c: !int {low: 1, high: 3}}, v: 1}}\n  y: 2\n"
    )
    leaf = template.parameters[-1]
    assert leaf.name == "a.x.b.u.c"
    assert [(c.parent, c.values) for c in leaf.condition] == [("a", ("x",)), ("a.x.b", ("u",))]


def test_when_ties_a_block_to_another_choice_that_stands_further_down() -> None:
    template = parse_template(
        "policies:\n"
        "  - !optional {when: {pruners.p: [l1, l2]}, pruner: {instance_name: p}, "
        "frequency: !int {low: 1, high: 3}}\n"
        "pruners:\n  p: !choice {none: , l1: {class: A}, l2: {class: B}}\n"
    )
    assert [parameter.name for parameter in template.parameters] == [
        "policies.p.frequency",
        "pruners.p",
    ]
    assert template.default_config() == {"pruners.p": "none"}
    assert schedule_of(template, **{"pruners.p": "l2", "policies.p.frequency": 2}) == {
        "policies": [{"pruner": {"instance_name": "p"}, "frequency": 2}],
        "pruners": {"p": {"class": "B"}},
    }


def test_an_instance_without_its_only_policy_is_left_out_with_its_parameters() -> None:
    template = parse_template(
        "pruners:\n  p: {class: A, final_sparsity: !float {low: 0.1, high: 0.5}}\n"
        "policies:\n  - !optional {pruner: {instance_name: p}}\n"
    )
    sparsity = template.parameters[0]
    assert [(c.parent, c.values) for c in sparsity.condition] == [("policies.p", ("on",))]
    assert template.render({"policies.p": "off"}).schedule == {"pruners": {}, "policies": []}


def test_a_reference_scales_then_adds_and_keeps_whole_numbers_whole() -> None:
    template = parse_template(
        "a: !ref {name: training.epochs, scale: 0.5, offset: 1}\n"
        "b: !ref training.epochs\nc: !ref {name: training.lr, scale: 10}\nd: !ref b\n",
        "epochs: 7\nlr: !float {low: 0.1, high: 0.5}\n",
    )
    # 0.5 * 7 + 1 = 4.5, rounded down; 10 * 0.25
    assert template.render({"training.lr": 0.25}).schedule == {"a": 4, "b": 7, "c": 2.5, "d": 7}


def test_a_reference_may_name_a_parameter_by_its_own_name() -> None:
    template = parse_template("a: !int {low: 1, high: 9, name: n}\nb: [!ref n]\n")
    assert template.render({"n": 4}).schedule == {"a": 4, "b": [4]}


def test_forbidden_combinations_are_kept_and_refused() -> None:
    template = parse_template(
        "a: !choice [x, y, z]\nb: !ordinal [1, 2]\nforbid:\n  - {a: [y, z], b: 2}\n"
    )
    assert template.forbidden == ({"a": ("y", "z"), "b": (2,)},)
    assert template.to_problem()["forbidden"] == [{"a": ["y", "z"], "b": [2]}]
    assert "forbid" not in template.render({"a": "x", "b": 2}).schedule
    with pytest.raises(TemplateErrors, match=r"forbid\[0\]"):
        template.render({"a": "z", "b": 2})
    rng = Random(0)
    drawn = [template.sample_config(rng) for _ in range(200)]
    assert {(c["a"], c["b"]) for c in drawn} == {("x", 1), ("x", 2), ("y", 1), ("z", 1)}


def test_extremes_are_default_low_high_and_every_branch_without_what_is_forbidden() -> None:
    template = parse_template(
        "a: !int {low: 1, high: 9}\nb: !choice {u: {c: !int {low: 2, high: 4}}, v: 1}\n"
        "forbid: [{b: v, a: 9}]\n"
    )
    assert template.extremes() == [
        {"a": 5, "b": "u", "b.u.c": 3},
        {"a": 1, "b": "u", "b.u.c": 2},
        {"a": 9, "b": "u", "b.u.c": 4},
        {"a": 5, "b": "v"},
        {"a": 1, "b": "v"},
    ]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"a": 1, "b": "u", "b.u.c": 2, "typo": 1}, "typo"),
        ({"a": 1, "b": "u"}, "b.u.c"),
        ({"a": 1, "b": "v", "b.u.c": 2}, "b.u.c"),
        ({"a": 10, "b": "v"}, "a"),
        ({"a": 1.5, "b": "v"}, "a"),
        ({"a": True, "b": "v"}, "a"),
        ({"a": float("nan"), "b": "v"}, "a"),
        ({"a": 1, "b": "w"}, "b"),
        ({"a": 1, "b": None}, "b"),
        ({"b": "v"}, "a"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_name(config: dict[str, Any], path: str) -> None:
    template = parse_template(
        "a: !int {low: 1, high: 9}\nb: !choice {u: {c: !int {low: 2, high: 4}}, v: 1}\n"
    )
    with pytest.raises(TemplateErrors) as caught:
        template.render(config)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_values_off_the_steps_are_refused_and_steps_are_decimal() -> None:
    template = one("!float {low: 0.1, high: 0.8, step: 0.05}")
    (parameter,) = template.parameters
    assert parameter.grid_size() == 15
    assert parameter.grid_value(3) == 0.25
    assert template.render({"version": 0.1 + 3 * 0.05}).schedule["version"] == 0.1 + 3 * 0.05
    with pytest.raises(TemplateErrors, match=r"got 0\.26"):
        template.render({"version": 0.26})


def test_every_rendered_place_knows_its_place_in_the_template() -> None:
    template = parse_template("policies:\n  - !optional {x: 1}\n  - {y: !int {low: 1, high: 2}}\n")
    rendered = template.render({"policies[0]": "off", "policies[1].y": 1})
    place = rendered.origins["policies[0].y"]
    assert (place.path, place.line, place.column) == ("policies[1].y", 3, 9)


def test_a_template_written_again_says_the_same() -> None:
    template = parse_template(DESIGN + "forbid: [{pruners.head: rows}]\n", TRAINING)
    again = parse_template(template.to_yaml(), template.training_to_yaml())
    assert again == template


def test_an_alias_is_a_second_parameter_and_a_reference_is_the_same() -> None:
    template = parse_template("a: &x !int {low: 1, high: 3}\nb: *x\nc: !ref a\n")
    assert [parameter.name for parameter in template.parameters] == ["a", "b"]
    assert template.render({"a": 1, "b": 2}).schedule == {"a": 1, "b": 2, "c": 1}


def test_merged_entries_are_read_and_overridden() -> None:
    template = parse_template("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n")
    assert template.render({}).schedule["own"] == {"x": 1, "y": 3}
