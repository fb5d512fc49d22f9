"""Schedules of the original, run through ours: the same masks, bit for bit.

The same schedules are the contract with Intel's own Distiller as the engine; it is held where
that can be imported, and the end of the test run says so where it was not.
"""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from stillhouse_compression import CompressionScheduler, file_config, load_yaml
from stillhouse_compression.original import (
    DistillerScheduler,
    distiller_problems,
    missing_distiller,
)

GOLDEN = Path(__file__).parent / "golden"
RUNS = sorted(path.stem for path in GOLDEN.glob("*.tiny*.json"))
MODELS = runpy.run_path(str(GOLDEN / "models.py"))
MISSING = missing_distiller()
Scheduler = CompressionScheduler | DistillerScheduler


def _network(name: str) -> nn.Module:
    model: nn.Module = MODELS[{"tinyres": "TinyRes", "tinyplain": "TinyPlain"}[name]]()
    initial = np.load(GOLDEN / f"init_{name}.npz")
    state = {key: torch.from_numpy(initial[key]) for key in initial.files}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return model


def _digest(scheduler: Scheduler) -> str:
    sha = hashlib.sha256()
    for name, mask in sorted(scheduler.masks.items()):
        if mask is not None:
            sha.update(name.encode())
            sha.update(np.packbits(mask.numpy()).tobytes())
    return sha.hexdigest()[:16]


def _shapes(scheduler: Scheduler) -> dict[str, list[int]]:
    return {name: list(m.shape) for name, m in scheduler.masks.items() if m is not None}


def _assert_masks(scheduler: Scheduler, arrays: Any, epoch: int, when: str) -> None:
    for name, mask in scheduler.masks.items():
        key = f"mask/e{epoch}/{when}/{name}"
        if key in arrays:
            assert mask is not None, key
            assert np.array_equal(np.packbits(mask.numpy()), arrays[key]), key


def _distillers(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Scheduler:
    """Intel's engine for a golden schedule, without the layers of the second network."""
    known = {name for name, _ in model.named_parameters()}
    schedule: Any = load_yaml(path.read_text(), str(path))
    for section in ("pruners", "regularizers"):
        for entry in schedule.get(section, {}).values():
            for key in ("weights", "levels", "sensitivities", "reg_regims"):
                if isinstance(entry.get(key), list):
                    entry[key] = [name for name in entry[key] if name in known]
                elif key in entry:
                    entry[key] = {k: v for k, v in entry[key].items() if k in known | {"*"}}
    return DistillerScheduler(model, optimizer, schedule)


@pytest.mark.parametrize("engine", ["stillhouse"] if MISSING else ["stillhouse", "distiller"])
@pytest.mark.parametrize("run", RUNS)
def test_a_schedule_of_the_original_gives_its_masks_and_weights(run: str, engine: str) -> None:
    expected = json.loads((GOLDEN / f"{run}.json").read_text())
    arrays = np.load(GOLDEN / f"{run}.npz")
    n_minibatches, exact = expected["minibatches"], not expected["train"]
    model = _network(expected["model"])
    settings = expected["optimizer"]
    optimizer = torch.optim.SGD(
        model.parameters(),
        settings["lr"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
    )
    # The golden schedules name layers of a second network, too.
    schedule = GOLDEN / "schedules" / expected["yaml"]
    scheduler: Scheduler
    if engine == "distiller":
        if distiller_problems(load_yaml(schedule.read_text())):
            pytest.skip("it uses what Intel's Distiller cannot run on current torch")
        scheduler = _distillers(model, optimizer, schedule)
    else:
        scheduler = file_config(model, optimizer, schedule, strict=False)
    batches = MODELS["batches"](n_minibatches)
    for epoch, wanted in enumerate(expected["per_epoch"]):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted["lr"], rel=1e-12)
        model.train()
        scheduler.on_epoch_begin(epoch, optimizer)
        assert _shapes(scheduler) == wanted["mask_shapes_begin"]
        _assert_masks(scheduler, arrays, epoch, "begin")
        for i, (x, y) in enumerate(batches):
            scheduler.on_minibatch_begin(epoch, i, n_minibatches, optimizer)
            assert _digest(scheduler) == wanted["mb"][i]["mask"], (epoch, i)
            loss = functional.cross_entropy(model(x), y)
            answer = scheduler.before_backward_pass(epoch, i, n_minibatches, loss, optimizer)
            assert float(loss.detach()) == pytest.approx(wanted["mb"][i]["loss"], abs=2e-4)
            assert answer.item() == pytest.approx(wanted["mb"][i]["overall"], abs=2e-4)
            components = [[c.name, pytest.approx(c.value.item(), rel=1e-4)] for c in answer[1]]
            assert wanted["mb"][i]["components"] == components
            optimizer.zero_grad()
            answer.backward()
            scheduler.before_parameter_optimization(epoch, i, n_minibatches, optimizer)
            optimizer.step()
            scheduler.on_minibatch_end(epoch, i, n_minibatches, optimizer)
            assert _digest(scheduler) == wanted["mb"][i]["mask_end"], (epoch, i)
        scheduler.on_epoch_end(epoch, optimizer, metrics={"min": 1.0, "max": 1.0})
        has_end = any(key.startswith(f"mask/e{epoch}/end/") for key in arrays.files)
        _assert_masks(scheduler, arrays, epoch, "end" if has_end else "begin")
    for name, parameter in model.named_parameters():
        final = parameter.detach().numpy()
        if exact:
            sha = hashlib.sha256(np.ascontiguousarray(final + 0.0).tobytes()).hexdigest()
            assert sha == expected["final"][name]["sha256"], name
        else:
            assert np.abs(final - arrays[f"final/{name}"]).max() < 4e-4, name
        assert np.count_nonzero(final) == expected["final"][name]["nnz"], name
    model.eval()
    with torch.no_grad():
        assert np.abs(model(MODELS["probe"]()).numpy() - arrays["final_out_eval"]).max() < 2e-3


def test_intels_distiller_keeps_to_the_contract() -> None:
    if MISSING is not None:
        pytest.skip(MISSING)  # and conftest.py says it loudly
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pruner = {"class": "SparsityLevelParameterPruner", "levels": {"weight": 0.5}}
    policy = {"pruner": {"instance_name": "p"}, "epochs": [0]}
    schedule = {"pruners": {"p": pruner}, "policies": [policy]}
    scheduler = DistillerScheduler(model, optimizer, schedule)
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 1)
    assert (model.weight == 0).float().mean() == 0.5
