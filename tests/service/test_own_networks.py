"""Networks of another installed package: listed, trained, compressed, written templates for."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from own_networks import lay_out

from stillhouse_compression import models
from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.compress import CompressionTask, compress
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.models.installed import installed_networks
from stillhouse_compression.template import parse_template
from stillhouse_compression.template.writer import write_template
from stillhouse_compression.training import Recipe


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(lay_out(folder)))
    installed_networks.cache_clear()
    yield folder
    installed_networks.cache_clear()


def test_an_own_network_is_trained_compressed_and_exported_under_its_own_names(
    package: Path,
) -> None:
    recipe = Recipe.from_mapping({"epochs": 1, "effective_train_size": 0.1})
    baseline = train_baseline("little", "digits", recipe, seed=0, n_threads=1)
    schedule = {
        "version": 1,
        "pruners": {
            "stem": {
                "class": "L1RankedStructureParameterPruner",
                "group_type": "Filters",
                "mask_batchnorm": True,
                "desired_sparsity": 0.5,
                "weights": ["stem.weight"],
            }
        },
        "policies": [{"pruner": {"instance_name": "stem"}, "epochs": [0]}],
    }
    training = {"epochs": 1, "recovery_epochs": 0, "effective_train_size": 0.1}
    result = compress(
        CompressionTask("little", "digits", baseline.weights, schedule, training, 1, n_threads=1)
    )
    shapes = {
        weight.name: list(weight.dims)
        for weight in onnx.load_from_string(result.onnx).graph.initializer
    }
    assert shapes["stem.weight"] == [4, 3, 3, 3]  # half of 8 filters are cut out
    assert shapes["body.weight"] == [16, 4, 3, 3]


def test_a_template_is_written_for_an_own_network(package: Path) -> None:
    template = parse_template(write_template("little", None, ["filters"], "layer"), "epochs: 3\n")
    pruners = template.render(template.default_config()).schedule["pruners"]
    named = {name for pruner in pruners.values() for name in pruner["weights"]}
    assert {"stem.weight", "body.weight"} <= named


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refusing", "cannot be made: RuntimeError: no weights here"),
        ("misnamed", "calls itself 'other'; both names must be the same"),
        ("no_network", r"package 'somebody' \(.*\) is a int; a ModelInfo was wanted"),
        ("not_there", "cannot be loaded: AttributeError"),
    ],
)
def test_a_network_that_does_not_work_says_whose_it_is_and_why(
    package: Path, name: str, reason: str
) -> None:
    with pytest.raises(CompressionError, match=reason):
        models.build(name)


def test_nobody_takes_the_name_of_a_network_of_ours(package: Path) -> None:
    assert type(models.build("resnet20_cifar")).__name__ == "CifarResNet"
    assert [info.name for info in models.available()].count("resnet20_cifar") == 1


def test_a_server_lists_own_networks_and_refuses_broken_ones_in_words(
    package: Path, server: Any
) -> None:
    names = [item["name"] for item in server.get("/v1/models")["items"]]
    assert names[-2:] == ["little", "refusing"]
    wanted = {"model": "not_there", "dataset": "digits"}
    answer = server.http.post("/v1/baselines", json=wanted)
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem["path"] == "model"
    assert "own_networks_of_somebody:not_there" in problem["message"]


def test_a_new_process_finds_an_own_network(package: Path) -> None:
    command = [sys.executable, "-c", "from stillhouse_compression import models as m;"]
    command[-1] += "print(type(m.build('little', 3)).__name__)"
    answer = subprocess.run(
        command, env={"PYTHONPATH": str(package)}, capture_output=True, text=True, check=False
    )
    assert answer.stdout.strip() == "Little", answer.stderr
