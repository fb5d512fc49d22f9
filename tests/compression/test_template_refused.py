"""What a template may not say: every problem at once, each at its YAML path and line."""

import time

import pytest

from stillhouse_compression.template import parse_template
from stillhouse_compression.template.errors import TemplateErrors


def problems_of(template: str, training: str = "") -> list[tuple[str, str]]:
    with pytest.raises(TemplateErrors) as caught:
        parse_template(template, training)
    return [(problem.path, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("tag", "path", "words"),
    [
        ("!float {low: 0.5, high: 0.5}", "a", "range is empty"),
        ("!int {low: 9, high: 2}", "a", "range is empty"),
        ("!float {low: 0, high: 1, log: true}", "a", "above 0"),
        ("!float {low: 0.1, high: 0.8, default: 0.9}", "a.default", "[0.1, 0.8]"),
        ("!float {lo: 0.1, low: 0.1, high: 0.8}", "a.lo", "did you mean 'low'"),
        ("!float {high: 0.8}", "a", "needs 'low'"),
        ("!float {low: x, high: 0.8}", "a.low", "must be a number"),
        ("!float {low: .nan, high: 0.8}", "a.low", "finite"),
        ("!float {low: 0, high: .inf}", "a.high", "finite"),
        ("!int {low: 1.5, high: 3}", "a.low", "whole number"),
        ("!int {low: 1, high: true}", "a.high", "must be a number"),
        ("!float {low: 0, high: 1, step: 0}", "a", "above 0"),
        ("!float {low: 0, high: 1, step: 2}", "a", "leaves one value"),
        ("!float {low: 0.1, high: 1, step: 0.1, log: true}", "a", "log and step"),
        ("!float {low: 0.1, high: 1, log: 3}", "a.log", "true or false"),
        ("!float {low: !ref b, high: 1}", "a.low", "plain value"),
        ("!float {low: 0, high: 1, prior: 3}", "a.prior", "takes a mapping"),
        ("!float {low: 0, high: 1, prior: {center: 0.5}}", "a.prior", "needs 'width'"),
        (
            "!float {low: 0, high: 1, prior: {center: 2, width: 1}}",
            "a.prior.center",
            "lie in [0.0, 1.0]",
        ),
        ("!int {low: 1, high: 9, prior: {center: 5, width: 0}}", "a.prior.width", "above 0"),
        (
            "!float {low: 0.1, high: 1, log: true, prior: {center: 0.5, width: 1}}",
            "a.prior.width",
            "a factor, above 1",
        ),
        (
            "!float {low: 0, high: 1, prior: {centre: 0.5, center: 0.5, width: 1}}",
            "a.prior.centre",
            "did you mean 'center'",
        ),
        ("!choice {choices: [u, v], prior: 3}", "a.prior", "takes a mapping of its values"),
        ("!choice {choices: [u, v], prior: {}}", "a.prior", "names no value"),
        ("!choice {choices: [u, v], prior: {w: 2}}", "a.prior.w", "one of 'u', 'v', got 'w'"),
        ("!choice {choices: [u, v], prior: {u: 0}}", "a.prior.u", "left out of the choices"),
        ("!choice {choices: [u, v], prior: {u: -1}}", "a.prior.u", "between 1e-6 and 1e6"),
        ("!choice {choices: [u, v], prior: {u: much}}", "a.prior.u", "must be a number"),
        ("!choice {choices: [u, v], prior: {u: .nan}}", "a.prior.u", "finite"),
        ("!choice {u: 1, v: 2, prior: {w: 2}}", "a.prior.w", "one of 'u', 'v', got 'w'"),
        ("!ordinal {choices: [1, 2], prior: {1: 2, 1.0: 3}}", "a.prior.1.0", "1 stands twice"),
        ("!optional {x: 1, prior: {maybe: 2}}", "a.prior.maybe", "one of 'off', 'on'"),
        ("!float 3", "a", "takes a mapping"),
        ("!choice [a]", "a", "at least two"),
        ("!choice []", "a", "at least two"),
        ("!choice [a, b, a]", "a[2]", "twice"),
        ("!choice [1, true]", "a[1]", "True cannot be told from 1"),
        ("!choice [[1], 2]", "a[0]", "plain value"),
        ("!choice {choices: [a, b], default: c}", "a.default", "one of 'a', 'b'"),
        ("!choice {u: 1, v: 2, default: w}", "a.default", "one of 'u', 'v'"),
        ("!ordinal {u: 1, v: 2}", "a", "takes a list"),
        ("!ordinal 3", "a", "takes a list"),
        ("!optional", "a", "behind it"),
        ("!optional {default: maybe, x: 1}", "a.default", "one of 'off', 'on'"),
        ("!ref", "a", "needs the name"),
        ("!ref nothing", "a", "nothing is named"),
        ("!ref {name: b, by: 3}", "a.by", "no argument 'by'"),
        ("!ref {name: b, scale: 2}", "a", "no number"),
        ("!ref a", "a", "comes back to itself"),
        ("!ref {name: d, scale: 1.0e+300}", "a", "grows beyond"),
        ("!range {low: 0, high: 1}", "a", "tag !range is not read"),
        ("!flaot {low: 0, high: 1}", "a", "did you mean '!float'"),
        ("!!python/object/apply:os.system [ls]", "a", "!!python/object/apply:os.system"),
        ("!!binary aGk=", "a", "!!binary"),
        ("!optional {when: {b: 1}, x: 1}", "a.when.b", "name of a choice"),
        ("!optional {when: {c: w}, x: 1}", "a.when.c", "one of 'u', 'v'"),
        ("!optional {when: {c: u}, default: on, x: 1}", "a.default", "does not go with"),
        ("!optional {when: {a.x: u}, x: !choice [u, v]}", "a.x", "decide about itself"),
    ],
)
def test_a_tag_that_means_nothing_is_refused_where_it_stands(
    tag: str, path: str, words: str
) -> None:
    found = problems_of(f"b: text\nc: !choice [u, v]\na: {tag}\nd: 123\n")
    assert [each for each, _ in found] == [path]
    assert words in found[0][1]
    assert "(line 3, column " in found[0][1]


def test_all_problems_are_told_at_once_with_their_places() -> None:
    found = problems_of(
        """
pruners:
  p: {class: A, final_sparsity: !float {low: 0.9, high: 0.1}}
policies:
  - {pruner: {instance_name: q}, ending_epoch: !ref training.epoch}
  - {pruner: {instance_name: p}, frequency: !int {low: 1}}
forbid:
  - {nobody: 1}
""",
        "epochs: !int {low: 1, high: 4, defualt: 2}\n",
    )
    assert sorted(path for path, _ in found) == [
        "forbid[0].nobody",
        "policies[0].ending_epoch",
        "policies[0].pruner.instance_name",
        "policies[1].frequency",
        "pruners.p.final_sparsity",
        "training.epochs.defualt",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("[a, b]", "must be a mapping"),
        ("!choice {a: {}, b: {}}", "without a tag"),
        ("a: [1, 2", "line 1, column 9"),
        ("a: 1\n---\nb: 2\n", "single document"),
        ("a: *x\n", "undefined alias"),
        ("a: '\\ud800'\nb: \"\\ud800\"", "surrogates"),
        ('a: "\\UFFFFFFFF"', "not readable"),
        ("a: \x00", "special characters"),
        ("[" * 500, "nested deeper"),
        ("a: " + "x" * 300_000, "characters"),
    ],
)
def test_a_text_that_is_no_template_is_refused_without_a_stack_trace(text: str, words: str) -> None:
    ((_, message),) = problems_of(text)
    assert words in message


def test_a_key_that_stands_twice_is_refused() -> None:
    ((path, message),) = problems_of("a: {x: 1, y: 2, x: 3}\n")
    assert path == "a.x"
    assert "twice" in message


def test_aliases_that_grow_without_end_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    found = problems_of("\n".join(lines))
    assert any("once aliases are written out" in message for _, message in found)


def test_an_alias_inside_itself_is_refused() -> None:
    found = problems_of("a: &a [*a]\n")
    assert "nested deeper" in found[0][1]


def test_merges_that_double_cost_nothing() -> None:
    lines = ["m0: &m0 {k: 1}"] + [
        f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, 60)
    ]
    template = parse_template("\n".join(lines))
    assert template.render({}).schedule["m59"] == {"k": 1}


def test_two_parameters_of_one_name_are_refused_and_ref_is_offered() -> None:
    ((path, message),) = problems_of(
        "a: !int {low: 1, high: 2, name: n}\nb: !int {low: 1, high: 2, name: n}\n"
    )
    assert path == "b"
    assert "!ref n" in message


def test_references_in_a_circle_are_refused() -> None:
    found = problems_of("a: !ref b\nb: !ref c\nc: !ref a\n")
    assert sorted(path for path, _ in found) == ["a", "b", "c"]
    assert all("comes back to itself" in message for _, message in found)


def test_a_reference_into_a_block_that_may_be_absent_is_refused() -> None:
    ((path, message),) = problems_of("a: !choice {u: {x: 1}, v: 2}\nb: !ref a.u.x\n")
    assert path == "b"
    assert "a.u.x is not there when a = v" in message


def test_a_reference_inside_the_same_block_is_fine() -> None:
    template = parse_template("a: !choice {u: {x: 1, y: !ref a.u.x}, v: 2}\n")
    assert template.render({"a": "u"}).schedule == {"a": {"x": 1, "y": 1}}


POLICY_OF_A_CHOICE = """
pruners:
  head: !choice
    none:
    fine: {class: A}
policies:
  - !optional {pruner: {instance_name: head}}
"""


def test_a_policy_whose_instance_is_switched_off_is_refused_with_the_branch() -> None:
    ((path, message),) = problems_of(POLICY_OF_A_CHOICE.replace("!optional ", ""))
    assert path == "policies[0].pruner.instance_name"
    assert "there is no pruner 'head' in pruners when pruners.head = none" in message


def test_the_same_policy_is_fine_where_the_branch_is_forbidden() -> None:
    text = POLICY_OF_A_CHOICE.replace("!optional ", "!optional {default: off, ").replace(
        "off, {", "off, "
    )
    template = parse_template(text + "forbid: [{pruners.head: none, policies.head: on}]\n")
    assert {"pruners.head": "fine", "policies.head": "on"} in template.extremes()
    with pytest.raises(TemplateErrors):
        template.render({"pruners.head": "none", "policies.head": "on"})


def test_an_instance_that_is_chosen_by_name_must_be_there_in_each_case() -> None:
    text = (
        "pruners: {l1: {class: A}, l2: !optional {class: B}}\n"
        "policies: [{pruner: {instance_name: !choice [l1, l2]}}]\n"
    )
    ((path, message),) = problems_of(text)
    assert path == "policies[0].pruner.instance_name"
    assert "no pruner 'l2'" in message
    assert "pruners.l2 = off" in message


def test_a_default_config_that_is_forbidden_is_refused() -> None:
    ((path, message),) = problems_of("a: !choice [x, y]\nforbid:\n  - {a: [x, y]}\n")
    assert path == "forbid"
    assert "default config is forbidden" in message


def test_a_float_cannot_be_forbidden_at_a_single_value() -> None:
    ((path, message),) = problems_of("a: !float {low: 0, high: 1}\nforbid: [{a: 0.5}]\n")
    assert path == "forbid[0].a"
    assert "never exactly" in message


def test_training_does_not_stand_in_the_schedule() -> None:
    ((path, _),) = problems_of("policies: []\ntraining: {epochs: 3}\n")
    assert path == "training"


def test_a_template_with_too_many_parameters_is_refused() -> None:
    items = ", ".join(["!int {low: 1, high: 2}"] * 400)
    found = problems_of(f"a: [{items}]\n")
    assert any("parameters" in message for _, message in found)


def test_a_reference_may_hand_a_huge_number_on_but_not_scale_it() -> None:
    huge = "9" * 400
    assert parse_template(f"a: {huge}\nb: !ref a\n").render({}).schedule["b"] == int(huge)
    ((path, message),) = problems_of(f"a: {huge}\nb: !ref {{name: a, scale: 0.5}}\n")
    assert path == "b"
    assert "grows beyond" in message


def test_a_hostile_template_does_not_hold_the_reader_up() -> None:
    # Every policy hangs on twelve switches of its own section's entries.
    switches = "\n".join(f"  p{i}: !optional {{class: A}}" for i in range(12))
    policy = (
        "  - {pruner: {instance_name: !choice [" + ", ".join(f"p{i}" for i in range(12)) + "]}}"
    )
    text = f"pruners:\n{switches}\npolicies:\n" + "\n".join([policy] * 250)
    started = time.process_time()
    assert len(problems_of(text)) == 100
    assert time.process_time() - started < 30.0  # without bounds: many minutes
