from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse_optimizer import Constraint, OptimizerError, Problem, ProblemError
from stillhouse_optimizer.parameter import Parameter

GOOD: dict[str, Any] = {"name": "x", "kind": "float", "low": 0.1, "high": 0.7}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"low": 0.8}, "parameters[0].low"),
        ({"low": "0.1"}, "parameters[0].low"),
        ({"low": float("nan")}, "parameters[0].low"),
        ({"high": None}, "parameters[0].high"),
        ({"high": True}, "parameters[0].high"),
        ({"low": 0.0, "log": True}, "parameters[0].low"),
        ({"log": "yes"}, "parameters[0].log"),
        ({"step": 0}, "parameters[0].step"),
        ({"default": 0.9}, "parameters[0].default"),
        ({"step": 0.2, "default": 0.4}, "parameters[0].default"),
        ({"kind": "real"}, "parameters[0].kind"),
        ({"kind": "int", "low": 1.5, "high": 3}, "parameters[0].low"),
        ({"kind": "choice"}, "parameters[0].low"),
        ({"choices": [1]}, "parameters[0].choices"),
        ({"colour": 1}, "parameters[0].colour"),
        ({"name": ""}, "parameters[0].name"),
        ({"condition": [{"parent": "x", "values": [1]}]}, "parameters[0].condition[0].parent"),
        ({"condition": [{"parent": "y", "values": [1]}]}, "parameters[0].condition[0].parent"),
        ({"condition": [{"parent": "y"}]}, "parameters[0].condition[0]"),
    ],
)
def test_an_error_names_the_field_of_the_parameter(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        Problem.from_mapping({"parameters": [GOOD | changes]})
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"parameters": []}, "parameters"),
        ({"parameters": [GOOD, GOOD]}, "parameters[1].name"),
        ({"parameters": "x"}, "parameters"),
        ({"objectives": ["a", "b", "c", "d"]}, "objectives"),
        ({"n_initial": 0}, "n_initial"),
        ({"n_initial": True}, "n_initial"),
        ({"surrogate": "oracle"}, "surrogate"),
        ({"constraints": ["top1_drop ~ 1"]}, "constraints[0]"),
        ({"constraints": ["top1_drop <= much"]}, "constraints[0]"),
        ({"constraints": [{"metric": "a", "op": "=", "bound": 1}]}, "constraints[0].op"),
        ({"constraints": [{"metric": "a", "op": "<="}]}, "constraints[0].bound"),
        ({"forbidden": [{"z": [1]}]}, "forbidden[0]"),
        ({"forbidden": [{"x": [3.0]}]}, "forbidden[0].x"),
        ({"budget": 3}, "budget"),
    ],
)
def test_an_error_names_the_field_of_the_problem(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        Problem.from_mapping({"parameters": [GOOD]} | changes)
    assert caught.value.field == field


def test_steps_are_exact_decimals() -> None:
    parameter = Parameter.from_mapping(GOOD | {"step": 0.1})
    values = [parameter.value_at(k) for k in range(parameter.n_values or 0)]
    assert values == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_a_range_that_is_no_multiple_of_its_step_ends_at_the_last_step() -> None:
    parameter = Parameter.from_mapping(GOOD | {"step": 0.25, "default": 0.1})
    assert [parameter.value_at(k) for k in range(parameter.n_values or 0)] == [0.1, 0.35, 0.6]
    assert not parameter.allows(0.7)


def test_true_is_not_one_among_choices() -> None:
    data = {"name": "x", "kind": "choice", "choices": [1, True, 0, False]}
    parameter = Parameter.from_mapping(data)
    assert [parameter.level_of(v) for v in (1, True, 0, False, 1.0)] == [0, 1, 2, 3, 0]


def test_without_a_default_the_middle_is_tried_first() -> None:
    assert Parameter.from_mapping(GOOD).default == pytest.approx(0.4)
    log = {"name": "x", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True}
    assert Parameter.from_mapping(log).default == pytest.approx(1e-3)
    whole = {"name": "x", "kind": "int", "low": 1, "high": 4}
    assert type(Parameter.from_mapping(whole).default) is int


@pytest.mark.parametrize(
    ("text", "at_bound", "above"),
    [
        ("m <= 2", True, False),
        ("m < 2", False, False),
        ("m >= 2", True, True),
        ("m>2", False, True),
    ],
)
def test_each_operator_judges_the_bound_and_beyond(text: str, at_bound: bool, above: bool) -> None:
    constraint = Constraint.parse(text)
    assert constraint.is_met(2.0) is at_bound
    assert constraint.is_met(2.1) == above
    assert not constraint.is_met(float("nan"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    data=st.fixed_dictionaries(
        {},
        optional={
            "parameters": json_values
            | st.lists(
                st.fixed_dictionaries(
                    {
                        "name": st.just("x"),
                        "kind": st.sampled_from(["float", "int", "choice", "ordinal"]),
                    },
                    optional={
                        key: json_values
                        for key in ("low", "high", "log", "step", "choices", "default", "condition")
                    },
                ),
                max_size=2,
            ),
            "forbidden": json_values,
            "constraints": json_values,
            "objectives": json_values,
        },
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
def test_any_json_is_a_problem_or_a_problem_error(data: dict[str, Any]) -> None:
    try:
        Problem.from_mapping(data)
    except OptimizerError as error:
        assert str(error)


def test_a_limit_may_be_a_share_of_the_baseline() -> None:
    limit = Constraint.parse("model_bytes <= 0.5 * baseline")
    assert limit == Constraint("model_bytes", "<=", 0.5, is_relative=True)
    assert str(limit) == "model_bytes <= 0.5 * baseline"
    assert Constraint.parse(str(limit)) == limit
    assert limit.against({"model_bytes": 1000.0}) == Constraint("model_bytes", "<=", 500.0)
    with pytest.raises(ProblemError, match="the baseline's model_bytes is not known"):
        limit.against({})
    with pytest.raises(OptimizerError, match="hold it against the baseline first"):
        limit.is_met(400.0)
    absolute = Constraint.parse("top1 >= 0.9")
    assert absolute.against({}) == absolute
