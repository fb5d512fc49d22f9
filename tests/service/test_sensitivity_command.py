"""`stillhouse sensitivity` against a real server, on real weights and real images."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stillhouse_compression import datasets, models
from stillhouse_compression.weights import weights_to_bytes

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    return models.build("simplenet_cifar", 10).eval()


@pytest.fixture
def baseline_id(server: Any, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> str:
    """A complete baseline whose stored weights are those of `network`."""
    make_up = server._trained

    def trained(order: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = make_up(order)
        stored = server.artifacts.put(weights_to_bytes(network))
        made["artifacts"]["weights"] |= {"sha256": stored.sha256, "n_bytes": stored.n_bytes}
        return made

    monkeypatch.setattr(server, "_trained", trained)
    made = server.http.post("/v1/baselines", json={"model": "simplenet_cifar", "dataset": "digits"})
    server.compute_all()
    return str(made.json()["id"])


def score(logits: Any, labels: Any) -> tuple[float, float]:
    """Top-1 and mean cross entropy, by NumPy in float64."""
    logits = np.asarray(logits, dtype=np.float64)
    highest = logits.max(axis=1, keepdims=True)
    logsum = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    loss = logsum - logits[np.arange(len(labels)), labels]
    return float((logits.argmax(axis=1) == labels).mean()), float(loss.mean())


def test_each_level_is_pruned_from_the_dense_network_and_tested_on_validation(
    at: Run, baseline_id: str, network: nn.Module
) -> None:
    status, out, err = at(
        *("sensitivity", baseline_id, "--levels", "1,0,1", "--layers", "fc3.*", "--json")
    )
    assert (status, err) == (0, "")
    found = json.loads(out)
    pixels, labels = datasets.load_split("digits", "validation")
    data = datasets.load("digits")
    mean, std = (np.array(x, dtype=np.float32)[None, :, None, None] for x in (data.mean, data.std))
    with torch.no_grad():
        logits = network(torch.from_numpy((pixels / np.float32(255) - mean) / std)).numpy()
    bias = network.get_parameter("fc3.bias").detach().numpy()
    dense = score(logits, labels)
    nothing_left = score(np.broadcast_to(bias, logits.shape), labels)
    rows = found["rows"]
    assert [(row["parameter"], row["level"], row["sparsity"]) for row in rows] == [
        ("fc3.weight", 0.0, 0.0),
        ("fc3.weight", 1.0, 1.0),
    ]
    for row, (top1, loss) in zip(
        [found["dense"], *rows], (dense, dense, nothing_left), strict=True
    ):
        assert row["top1"] == pytest.approx(top1, abs=1e-9)
        assert row["loss"] == pytest.approx(loss, abs=1e-5)
    assert (found["baseline_id"], found["split"], found["group"]) == (
        baseline_id,
        "validation",
        "element",
    )


def test_filters_of_the_newest_baseline_of_a_network_are_a_table_and_a_page(
    at: Run, baseline_id: str, tmp_path: Path
) -> None:
    page = tmp_path / "sensitivity.html"
    status, out, _ = at(
        *("sensitivity", "simplenet_cifar", "--dataset", "digits", "--group", "filter"),
        *("--levels", "0.5", "--output", str(page)),
    )
    assert status == 0
    lines = out.splitlines()
    assert baseline_id in lines[0]
    # 3 of 6 and 8 of 16 filters; linear layers have none.
    table = [line.split() for line in lines[2:-1]]
    assert [row[:3] for row in table] == [[f"conv{n}.weight", "0.5", "0.500"] for n in (1, 2)]
    assert all(re.fullmatch(r"\d+\.\d\d % \d+\.\d{4}", " ".join(row[3:])) for row in table)
    html = page.read_text(encoding="utf-8")
    assert "conv2.weight" in html
    assert "fc1.weight" not in html
    assert not re.search(r"<script[^>]+src=|<link ", html)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layers", "conv9.*"], r"--layers: .*'conv9\.\*'; did you mean 'conv\d\.weight'\?"),
        (["--layers", "conv1.bias"], "--layers: 'conv1.bias' means no weight"),
        (["--layers", "fc*", "--group", "filter"], "--layers: .*filter pruning"),
        (["--levels", "0.5,1.5,nan"], r"--levels: .*got 1\.5\n.*--levels: .*got nan"),
        (["--levels", "half"], "--levels: wanted numbers with commas, got 'half'"),
        (["--group", "filters"], "--group: .*did you mean 'filter'"),
        (["--dataset", "cifar10"], "--dataset: bsl_.* is of digits, not of cifar10"),
        (["--output", "nowhere/plot.html"], "--output: there is no folder nowhere"),
    ],
)
def test_what_cannot_be_analysed_is_refused_by_option(
    at: Run, baseline_id: str, options: list[str], said: str
) -> None:
    status, out, err = at("sensitivity", baseline_id, *options)
    assert (status, out) == (2, "")
    assert re.search(said, err)
    assert "Traceback" not in err


def test_a_baseline_that_is_not_there_or_not_complete_is_refused_by_name(
    at: Run, server: Any, baseline_id: str
) -> None:
    assert re.search("bsl_none", at("sensitivity", "bsl_none")[2])
    status, _, err = at("sensitivity", "simplenet_cifra")
    assert (status, "did you mean 'simplenet_cifar'" in err) == (2, True)
    status, _, err = at("sensitivity", "simplenet_cifar", "--dataset", "cifar100")
    assert (status, "it has: simplenet_cifar on digits" in err) == (2, True)
    waiting = {"model": "simplenet_cifar", "dataset": "digits", "seed": 1}
    waiting_id = server.http.post("/v1/baselines", json=waiting).json()["id"]
    status, _, err = at("sensitivity", waiting_id)
    assert (status, "wanted a complete baseline" in err) == (2, True)


def test_stored_bytes_that_are_no_weights_are_said_to_be_none(at: Run, server: Any) -> None:
    status, _, err = at("sensitivity", server.baseline())
    assert (status, "no safetensors file" in err, "Traceback" in err) == (2, True, False)
