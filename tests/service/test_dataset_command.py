"""`stillhouse dataset` on a real disk, and what REST takes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillhouse_compression import datasets

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STILLHOUSE_DATA_DIR", str(tmp_path / "data"))
    datasets.load.cache_clear()
    images = np.zeros((20, 3, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "scans.npz", images=images, labels=np.arange(20) % 10)
    return f"npz:{tmp_path / 'scans.npz'}"


def test_a_named_data_set_is_listed_and_served_by_name_alone(
    run: Run, server: Any, source: str
) -> None:
    order = {"model": "resnet20_cifar", "dataset": source, "recipe": {"epochs": 1}}
    answer = server.http.post("/v1/baselines", json=order)
    assert answer.status_code == 422
    assert "stillhouse dataset add" in answer.json()["problems"][0]["message"]
    status, out, _ = run("dataset", "add", "scans", source)
    assert (status, "scans: 10 classes; train 14, validation 3, test 3" in out) == (0, True)
    assert "scans" in run("dataset", "list")[1]
    (listed,) = [one for one in server.get("/v1/datasets")["items"] if one["name"] == "scans"]
    assert listed["splits"] == {"train": 14, "validation": 3, "test": 3}
    assert source not in str(server.get("/v1/datasets"))
    assert server.http.post("/v1/baselines", json=order | {"dataset": "scans"}).status_code == 201
    assert run("dataset", "remove", "scans")[0] == 0
    answer = server.http.post("/v1/baselines", json=order | {"dataset": "scans", "seed": 1})
    assert answer.status_code == 422


def test_what_cannot_be_added_is_refused_in_words(run: Run, source: str) -> None:
    for words, message in (
        (("add", "digits", source), "already"),
        (("add", "x", "npz:/none.npz"), "cannot be read"),
        (("remove", "x"), "no data set 'x'"),
        (("download", "mnist"), "there are: cifar10, cifar100"),
        (("download", "cifar10", "--url", "http://127.0.0.1:9/x"), "cannot be downloaded"),
    ):
        status, _, err = run("dataset", *words)
        assert (status, message in err, "Traceback" in err) == (2, True, False), (words, err)


def test_a_recipe_is_chosen_by_name(at: Run, server: Any, tmp_path: Path) -> None:
    status, _, err = at("train", "resnet20_cifar", "--recipe", "cifar")
    assert (status, "there are: standard, cifar-step" in err) == (2, True)
    baseline_id = server.baseline()
    row = server.get(f"/v1/baselines/{baseline_id}")
    settings = [
        word for name, value in row["recipe"].items() for word in ("--set", f"{name}={value}")
    ]
    out = tmp_path / "out"
    status, text, err = at(
        "train", row["model"], "--seed", str(row["seed"]), *settings, "-o", str(out)
    )
    assert (status, err) == (0, "")
    assert (out / "weights.safetensors").is_file()
    assert "complete" in text
