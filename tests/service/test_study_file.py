from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_service.errors import SpecRejected
from stillhouse_service.study_file import study_spec_from_file

TEMPLATE = "version: 1\npruners:\n  a: {class: X, final_sparsity: !float {low: 0.1, high: 0.8}}\n"
STUDY = """
name: digits
baseline: {model: resnet20_cifar, dataset: digits, recipe: {epochs: 8}, seed: 3}
device: CPU
template: template.yaml
training:
  epochs: !int {low: 2, high: 4}
  lr: !float {low: 0.001, high: 0.1, log: true}
constraints: [top1_drop <= 0.02]
budget: {trials: 20}
"""


def write(folder: Path, study: str = STUDY, template: str = TEMPLATE) -> Path:
    (folder / "template.yaml").write_text(template)
    path = folder / "study.yaml"
    path.write_text(study)
    return path


def problems(path: Path) -> dict[str, str]:
    with pytest.raises(SpecRejected) as caught:
        study_spec_from_file(path)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_study_file_becomes_the_json_that_the_server_takes(tmp_path: Path) -> None:
    spec = study_spec_from_file(write(tmp_path))
    assert spec["baseline"] == {
        "model": "resnet20_cifar",
        "dataset": "digits",
        "recipe": {"epochs": 8},
        "seed": 3,
    }
    assert spec["budget"] == {"trials": 20}
    assert spec["constraints"] == ["top1_drop <= 0.02"]
    assert spec["template"] == TEMPLATE  # byte for byte, comments and all


def test_tags_inside_training_arrive_as_yaml_text_with_their_values(tmp_path: Path) -> None:
    text = study_spec_from_file(write(tmp_path))["training"]
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    found = {
        key.value: (node.tag, {k.value: v.value for k, v in node.value}) for key, node in root.value
    }
    assert found == {
        "epochs": ("!int", {"low": "2", "high": "4"}),
        "lr": ("!float", {"low": "0.001", "high": "0.1", "log": "true"}),
    }


def test_the_template_may_stand_in_the_study_file_itself(tmp_path: Path) -> None:
    inline = STUDY.replace("template: template.yaml", "template: {version: !choice [1, 2]}")
    assert "!choice" in study_spec_from_file(write(tmp_path, inline))["template"]


def test_a_study_without_a_name_is_called_like_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    assert (
        study_spec_from_file(write(folder, STUDY.replace("name: digits", "")))["name"] == "letters"
    )


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    bad = STUDY.replace("device: CPU", "devise: CPU").replace("model: resnet20_cifar", "modle: x")
    bad = bad.replace("template.yaml", "nowhere.yaml").replace("{trials: 20}", "!int {low: 1}")
    found = problems(write(tmp_path, bad))
    assert set(found) == {
        "devise",
        "device",
        "baseline.modle",
        "baseline.model",
        "template",
        "budget",
    }
    assert "line 4" in found["devise"]
    assert "nowhere.yaml" in found["template"]
    assert "template and training only" in found["budget"]


@pytest.mark.parametrize(
    ("study", "path", "words"),
    [
        ("[1, 2]", "study", "must hold a mapping"),
        ("a: [", "study", "not valid YAML"),
        (STUDY + "device: GPU\n", "device", "given twice"),
        (
            STUDY.replace(
                "{model: resnet20_cifar, dataset: digits, recipe: {epochs: 8}, seed: 3}", "[1]"
            ),
            "baseline",
            "must be a baseline's id or a mapping",
        ),
        (STUDY.split("training:")[0] + "training: 3\nbudget: {trials: 2}\n", "training", "mapping"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, study: str, path: str, words: str) -> None:
    assert words in problems(write(tmp_path, study))[path]


def test_a_broken_template_is_named_by_its_line(tmp_path: Path) -> None:
    assert "line 2" in problems(write(tmp_path, template="a: 1\nb: ]\n"))["template"]


def test_a_missing_study_file_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    assert "no file" in problems(tmp_path / "study.yaml")["study"]


SCALARS = st.one_of(
    st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)


@given(st.dictionaries(TEXTS, st.one_of(SCALARS, TEXTS, st.lists(SCALARS, max_size=3)), max_size=5))
def test_training_text_means_what_the_file_said(
    tmp_path_factory: pytest.TempPathFactory, training: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("study")
    study = {
        "baseline": "bsl_1",
        "device": "CPU",
        "template": "template.yaml",
        "budget": {"trials": 1},
        "training": training,
    }
    path = write(folder, yaml.safe_dump(study, allow_unicode=True))
    assert yaml.safe_load(study_spec_from_file(path)["training"]) == training
