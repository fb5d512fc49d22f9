"""Recipes and training sections: every problem at once, at its path; the learning rate's course."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_compression.errors import SettingsError
from stillhouse_compression.fitting import fit_problems
from stillhouse_compression.training import (
    Recipe,
    TrainingSettings,
    check_recipe,
    check_training,
)


def test_every_problem_is_named_with_its_path() -> None:
    problems = check_training(
        {"lr": -1, "epochs": 2.5, "batchsize": 64, "nesterov": "yes", "lr_schedule": "cosin"}
    )
    assert {problem.path for problem in problems} == {
        "training.lr",
        "training.epochs",
        "training.batchsize",
        "training.nesterov",
        "training.lr_schedule",
    }
    by_path = {problem.path: problem.message for problem in problems}
    assert "above 0" in by_path["training.lr"] and "-1" in by_path["training.lr"]
    assert "integer" in by_path["training.epochs"]
    assert "did you mean 'batch_size'" in by_path["training.batchsize"]
    assert "cosine" in by_path["training.lr_schedule"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("lr", 0), ("lr", math.nan), ("lr", math.inf), ("lr", True), ("lr", "0.1")),
        *(("momentum", 1.0), ("momentum", -0.1), ("batch_size", 1), ("epochs", -1)),
        *(("recovery_epochs", -1), ("weight_decay", -1e-9), ("label_smoothing", 1.0)),
        *(("warmup_epochs", -1), ("lr_gamma", 0), ("lr_step_epochs", 0), ("augment", 1)),
    ],
)
def test_a_value_outside_its_range_is_refused(name: str, value: object) -> None:
    assert [problem.path for problem in check_training({name: value})] == [f"training.{name}"]
    with pytest.raises(SettingsError, match=f"training.{name}"):
        TrainingSettings.from_mapping({name: value})


def test_a_section_that_is_no_mapping_is_one_problem() -> None:
    assert [problem.path for problem in check_training([1, 2])] == ["training"]


def test_a_recipe_knows_no_recovery_and_a_training_no_checkpoint() -> None:
    assert [p.path for p in check_recipe({"recovery_epochs": 1})] == ["recipe.recovery_epochs"]
    assert [p.path for p in check_training({"checkpoint": "best"})] == ["training.checkpoint"]


def test_settings_survive_a_round_trip_as_plain_data() -> None:
    settings = TrainingSettings.from_mapping({"lr": 1, "epochs": 3})
    assert isinstance(settings.lr, float)
    assert TrainingSettings.from_mapping(settings.to_mapping()) == settings


@given(
    st.dictionaries(
        st.sampled_from(["lr", "epochs", "momentum", "x", "lr_schedule", "nesterov"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.none())
        ),
    )
)
def test_any_section_is_either_clean_or_refused_with_our_error(section: dict[str, object]) -> None:
    if check_training(section):
        with pytest.raises(SettingsError):
            TrainingSettings.from_mapping(section)
    else:
        TrainingSettings.from_mapping(section)


def test_the_cosine_starts_at_lr_halves_midway_and_ends_at_zero() -> None:
    settings = TrainingSettings.from_mapping({"lr": 0.2, "lr_schedule": "cosine"})
    assert settings.lr_at(0, 10) == pytest.approx(0.2)
    assert settings.lr_at(5, 10) == pytest.approx(0.1)
    assert settings.lr_at(10, 10) == pytest.approx(0.0)


def test_warm_up_rises_linearly_and_the_cosine_follows() -> None:
    recipe = Recipe.from_mapping({"lr": 0.4, "warmup_epochs": 2})
    assert recipe.lr_at(1, 10) == pytest.approx(0.2)
    assert recipe.lr_at(2, 10) == pytest.approx(0.4)
    assert recipe.lr_at(6, 10) == pytest.approx(0.2)


def test_steps_drop_by_gamma() -> None:
    recipe = Recipe.from_mapping(
        {"lr": 1.0, "lr_schedule": "step", "lr_step_epochs": 3, "lr_gamma": 0.1, "warmup_epochs": 0}
    )
    assert [recipe.lr_at(e, 9) for e in (0, 2.9, 3, 6)] == pytest.approx([1.0, 1.0, 0.1, 0.01])


def test_a_pruner_that_reaches_into_recovery_is_a_problem() -> None:
    schedule = {
        "policies": [
            {
                "pruner": {"instance_name": "a"},
                "starting_epoch": 0,
                "ending_epoch": 3,
                "frequency": 1,
            },
            {
                "pruner": {"instance_name": "a"},
                "starting_epoch": 0,
                "ending_epoch": 4,
                "frequency": 1,
            },
            {"pruner": {"instance_name": "b"}, "epochs": [0, 3]},
            {"lr_scheduler": {"instance_name": "c"}, "epochs": [9]},
        ]
    }
    settings = TrainingSettings.from_mapping({"epochs": 3, "recovery_epochs": 2})
    paths = [problem.path for problem in fit_problems(schedule, settings)]
    assert paths == ["policies[1].ending_epoch", "policies[2].epochs"]
    without = TrainingSettings.from_mapping({"epochs": 3, "recovery_epochs": 0})
    assert fit_problems(schedule, without) == []
