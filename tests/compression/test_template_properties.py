"""Properties of templates over random ones: round trips, exact rendering, one error type."""

import json
from random import Random
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse_compression.template import parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_compression.template.safe_yaml import dump
from stillhouse_compression.template.tags import SEARCH_TAGS

# Other work on the machine must not fail a test: no deadline on a single example.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FINITE | KEYS
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def flow(value: Any) -> str:
    """One-line YAML of a plain value."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).replace("...", "").strip()


@st.composite
def floats(draw: st.DrawFn) -> str:
    low = draw(st.floats(-1e6, 1e6))
    high = low + draw(st.floats(1e-3, 1e6))
    prior = f", prior: {{center: {high!r}, width: {draw(st.floats(1e-3, 1e3))!r}}}"
    return f"!float {{low: {low!r}, high: {high!r}{draw(st.sampled_from(['', prior]))}}}"


@st.composite
def logs(draw: st.DrawFn) -> str:
    low = draw(st.floats(1e-9, 1.0))
    return f"!float {{low: {low!r}, high: {low * 10!r}, log: true}}"


@st.composite
def integers(draw: st.DrawFn) -> str:
    low = draw(st.integers(-1000, 1000))
    step = draw(st.integers(1, 5))
    return f"!int {{low: {low}, high: {low + draw(st.integers(5, 1000))}, step: {step}}}"


@st.composite
def choices(draw: st.DrawFn) -> str:
    simple = st.none() | st.integers(0, 99) | st.sampled_from(["on", "1e-5", "a b", "null", "x"])
    values = draw(st.lists(simple, min_size=2, max_size=4, unique=True))
    tag, listed = draw(st.sampled_from(["!choice", "!ordinal"])), ", ".join(map(flow, values))
    if draw(st.booleans()):
        return f"{tag} [{listed}]"
    told = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
    prior = ", ".join(f"? {flow(value)} : {draw(st.floats(1e-6, 1e6))!r}" for value in told)
    return f"{tag} {{choices: [{listed}], prior: {{{prior}}}}}"


@st.composite
def blocks(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(st.sampled_from("uvw"), min_size=2, max_size=3, unique=True))
    prior = draw(st.sampled_from(["", f", prior: {{{names[0]}: 3}}"]))
    return "!choice {" + ", ".join(f"{name}: {draw(inner)}" for name in names) + prior + "}"


@st.composite
def mappings(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(st.sampled_from("pqrs"), min_size=1, max_size=3, unique=True))
    tag = draw(st.sampled_from(["", "!optional "]))
    prior = ", prior: {off: 0.5}" if tag and draw(st.booleans()) else ""
    return tag + "{" + ", ".join(f"{name}: {draw(inner)}" for name in names) + prior + "}"


TREES = st.recursive(
    floats() | logs() | integers() | choices() | st.integers(0, 9).map(str),
    lambda inner: (
        blocks(inner)
        | mappings(inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    ),
    max_leaves=8,
)


@RELAXED
@given(st.lists(TREES, min_size=1, max_size=3))
def test_a_random_template_written_again_is_the_same_template(trees: list[str]) -> None:
    text = "\n".join(f"top{index}: {tree}" for index, tree in enumerate(trees))
    template = parse_template(text)
    assert parse_template(template.to_yaml()) == template


@RELAXED
@given(st.lists(TREES, min_size=1, max_size=3), st.integers(0, 2**32))
def test_any_drawn_config_renders_exactly_and_without_tags(trees: list[str], seed: int) -> None:
    template = parse_template("\n".join(f"top{i}: {tree}" for i, tree in enumerate(trees)))
    config = template.sample_config(Random(seed))
    travelled = json.loads(json.dumps(config))
    rendered = template.render(travelled)
    assert rendered.config == config
    text = rendered.schedule_yaml()
    again = parse_template(text)
    assert again.parameters == ()
    # Compared by repr, as 1 == 1.0 == True.
    assert repr(again.render({}).schedule) == repr(rendered.schedule)
    drawn = [repr(value) for name, value in config.items() if template.space.by_name[name].is_range]
    assert all(value in repr(rendered.schedule) for value in drawn)


@RELAXED
@given(st.lists(TREES, min_size=1, max_size=2))
def test_extremes_are_renderable_and_start_with_the_default(trees: list[str]) -> None:
    template = parse_template("\n".join(f"top{i}: {tree}" for i, tree in enumerate(trees)))
    extremes = template.extremes()
    assert extremes[0] == template.default_config()
    for config in extremes:
        template.render(config)


@RELAXED
@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    rendered = parse_template(dump({"key": value})).render({})
    assert repr(rendered.schedule["key"]) == repr(value)


WORDS = """
    { } [ ] low high default name choices when policies pruners pruner instance_name forbid a 0.1 1
    -3 1e-5 .nan .inf on off ~ *x << !!python/name:os ' " | > # --- ... ! \\ training é &x %YAML
"""
SEPARATORS = (": ", ", ", "\n", "\n  ", "- ", "? ", "\t", " ")
FRAGMENTS = st.sampled_from([*SEARCH_TAGS, *WORDS.split(), *SEPARATORS])


@settings(RELAXED, max_examples=400)
@given(st.lists(FRAGMENTS, max_size=30).map("".join), st.text(max_size=20))
def test_no_text_raises_anything_but_template_errors(text: str, training: str) -> None:
    try:
        template = parse_template(text, training)
    except TemplateErrors as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
    else:
        template.render(template.default_config()).schedule_yaml()
        assert parse_template(template.to_yaml(), template.training_to_yaml()) == template


SOUND = """
pruners:
  p: !choice {none: , fine: {class: A, s: !float {low: 0.1, high: 0.5, log: true}}}
policies:
  - !optional {when: {pruners.p: fine}, pruner: {instance_name: p}, e: !ref training.epochs}
forbid: [{pruners.p: none, training.epochs: [1, 2]}]
"""


@settings(RELAXED, max_examples=400)
@given(st.integers(0, len(SOUND)), st.integers(0, 12), FRAGMENTS)
def test_no_mutation_of_a_sound_template_raises_anything_else(
    start: int, length: int, new: str
) -> None:
    text = SOUND[:start] + new + SOUND[start + length :]
    try:
        template = parse_template(text, "epochs: !int {low: 1, high: 5}")
    except TemplateErrors as error:
        assert all(problem.message for problem in error.problems)
    else:
        for config in template.extremes():
            template.render(config)


@RELAXED
@given(st.dictionaries(st.sampled_from(["a", "b", "b.u.c", "zz"]), PLAIN))
def test_no_config_raises_anything_but_template_errors(config: dict[str, Any]) -> None:
    template = parse_template(
        "a: !int {low: 1, high: 9}\nb: !choice {u: {c: !float {low: 2, high: 4}}, v: 1}\n"
    )
    try:
        rendered = template.render(config)
    except TemplateErrors as error:
        assert error.problems
    else:
        assert rendered.config == config
