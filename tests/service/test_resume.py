"""Compute that dies or freezes under a real server: what was trained is not trained again."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.training import Recipe

N_EPOCHS = 16
RECIPE = {"epochs": N_EPOCHS, "lr": 0.05, "effective_train_size": 0.2}


def _until(is_so: Callable[[], Any], what: str, timeout_s: float = 180.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def _worker() -> psutil.Process:
    """The process that trains: the one of this process's descendants that uses torch."""
    children = psutil.Process().children(recursive=True)
    return max(children, key=lambda child: child.memory_info().rss)


def _train(server: Any, seed: int, **more: Any) -> str:
    wanted = {"model": "simplenet_cifar", "dataset": "digits", "recipe": RECIPE, "seed": seed}
    return str(server.http.post("/v1/baselines", json=wanted | more).json()["id"])


def _epoch(server: Any, baseline: str) -> int:
    return int(server.get(f"/v1/baselines/{baseline}")["progress"].get("epoch", 0))


def _ended(server: Any, baseline: str) -> Any:
    def is_over() -> Any:
        row = server.get(f"/v1/baselines/{baseline}")
        return row if row["state"] in ("complete", "failed") else None

    row = _until(is_over, "the end of a training")
    assert row["state"] == "complete", row["error"]
    return row


def _is_as_undisturbed(server: Any, row: Any, n_trained: int) -> None:
    """The result is that of a training which nothing has happened to, and no epoch ran twice."""
    recipe = Recipe.from_mapping(RECIPE)
    whole = train_baseline("simplenet_cifar", "digits", recipe, row["seed"], n_threads=1)
    assert row["artifacts"]["weights"] == sha256(whole.weights).hexdigest()
    assert row["artifacts"]["onnx"] == sha256(whole.onnx).hexdigest()
    log = server.http.get(f"/v1/artifacts/{row['artifacts']['log']}").text
    (resumed,) = re.findall(r"resuming, epoch (\d+)", log)
    assert int(resumed) >= n_trained  # the second attempt began where the first one stopped
    trained = [int(one) for one in re.findall(r"training, epoch (\d+) of", log)]
    assert trained == list(range(int(resumed) + 1, N_EPOCHS + 1))
    kept = [file.name for file in server.artifacts.place.files()]
    assert not [name for name in kept if name.startswith("checkpoints/")]


def _attempts(server: Any) -> list[tuple[str, str]]:
    with server.store.read() as view:
        events = view.log.events(10_000, None)
    return [(e.after, e.reason or "") for e in events if e.kind == "attempt" and e.before]


@pytest.mark.timeout(600)
def test_a_training_whose_worker_dies_goes_on_at_its_epoch_and_ends_the_same(
    serve: Any, connect: Any, template: str, run: Any, tmp_path: Path
) -> None:
    server = serve(compute="embedded", progress_s=0.0)
    killed = _train(server, seed=3)
    n_trained = _until(lambda: (n := _epoch(server, killed)) >= 3 and n, "epoch 3")
    log = server.get(f"/v1/baselines/{killed}")["progress"]["log"]
    assert "training, epoch" in log[-1]  # while it runs, its last lines are to be seen
    _worker().kill()
    _is_as_undisturbed(server, _ended(server, killed), n_trained)
    assert [state for state, _ in _attempts(server)] == ["lost", "succeeded"]
    assert "KilledWorker" in _attempts(server)[0][1]

    # The same training asked for by its command is the one that is done; its files are fetched.
    recipe = [part for name, value in RECIPE.items() for part in ("--set", f"{name}={value}")]
    command = ["train", "simplenet_cifar", "--seed", "3", *recipe, "-o", str(tmp_path / "out")]
    status, _, error = run(*command, "--server", server.url)
    assert status == 0, error
    row = server.get(f"/v1/baselines/{killed}")
    for name, file in {"weights": "weights.safetensors", "onnx": "model.onnx"}.items():
        content = (tmp_path / "out" / file).read_bytes()
        assert sha256(content).hexdigest() == row["artifacts"][name]
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert (card["seed"], card["recipe"]["epochs"], card["dataset"]) == (3, N_EPOCHS, "digits")
    assert card["split_hash"] in (tmp_path / "out" / "card.md").read_text()
    assert len(server.get("/v1/baselines")["items"]) == 1

    waiting = _train(server, seed=5, resources={"GPU_MEMORY": 8e9})
    why = _until(
        lambda: server.get(f"/v1/baselines/{waiting}")["progress"].get("waits_for"),
        "the baseline to say what it waits for",
    )
    assert why.startswith("no compute worker offers GPU_MEMORY=8e+09: start one with")
    other = template.replace("layer1.0.conv1", "conv1")
    study = server.study(baseline=killed, template=other, resources={"GPU": 2})
    host = connect(server)
    host.measure(host.lease())
    reason = _until(lambda: server.get(f"/v1/studies/{study}")["reason"], "the study's reason")
    assert reason.startswith("nothing can be compressed: no compute worker offers GPU=2: start")


@pytest.mark.slow  # another server with a worker that imports torch, twice
@pytest.mark.timeout(600)
def test_a_frozen_worker_is_noticed_and_its_training_goes_on_at_its_epoch(serve: Any) -> None:
    server = serve(compute="embedded", progress_s=0.0, frozen_s=5.0)
    frozen = _train(server, seed=4)
    n_trained = _until(lambda: (n := _epoch(server, frozen)) >= 3 and n, "epoch 3")
    begun = time.monotonic()
    os.kill(_worker().pid, signal.SIGSTOP)
    _until(lambda: len(_attempts(server)) == 1, "the frozen worker to be noticed")
    assert time.monotonic() - begun < 30  # 5 s of silence; the rest is the machine's load
    state, reason = _attempts(server)[0]
    assert (state, "has been silent for 5 s" in reason) == ("lost", True)
    _is_as_undisturbed(server, _ended(server, frozen), n_trained)
