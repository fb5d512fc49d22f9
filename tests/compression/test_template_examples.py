"""The example study is what the demo needs: sound, small, with a choice of blocks."""

from pathlib import Path
from typing import Any

import pytest

from stillhouse_compression.models import build
from stillhouse_compression.template import Template, check_against_model, parse_template
from stillhouse_compression.template.tree import Switch, walk
from stillhouse_compression.training import check_recipe
from stillhouse_service.study_file import study_spec_from_file

STUDY = Path(__file__).parents[2] / "examples" / "digits" / "study.yaml"


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return study_spec_from_file(STUDY)


@pytest.fixture(scope="module")
def template(spec: dict[str, Any]) -> Template:
    return parse_template(spec["template"], spec["training"])


def test_it_can_run_in_every_corner(template: Template, spec: dict[str, Any]) -> None:
    assert check_against_model(template, build(spec["baseline"]["model"])) == []
    assert check_recipe(spec["baseline"]["recipe"]) == []


def test_it_has_six_to_twelve_parameters_and_a_choice_of_blocks(template: Template) -> None:
    assert 6 <= len(template.parameters) <= 12
    assert any(isinstance(tree, Switch) for tree in walk(template.schedule))


def test_it_searches_epochs_and_learning_rate_and_stays_short(template: Template) -> None:
    names = {parameter.name for parameter in template.parameters}
    assert {"training.epochs", "training.lr"} <= names
    for config in template.extremes():
        training = template.render(config).training
        assert 2 <= training["epochs"] <= 4
        assert 1 <= training["recovery_epochs"] <= 2


def test_no_two_pruners_share_a_tensor(template: Template) -> None:
    model = build("resnet20_cifar")
    for config in template.extremes():
        pruners = template.render(config, model).schedule["pruners"].values()
        weights = [name for pruner in pruners for name in pruner["weights"]]
        assert len(weights) == len(set(weights))
