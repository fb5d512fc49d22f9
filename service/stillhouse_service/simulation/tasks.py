"""What a made-up compute worker does with a stage: nothing but what the law says.

Depends on: the artifact store, law. Takes the place of `stillhouse_service.tasks` in the process of
`stillhouse simulate`; its files are small texts, and a network's file holds what is true of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.cluster import Surroundings
from stillhouse_service.simulation.law import Law, Truth, truth

_BASELINE_FILES = ("weights", "probe_inputs", "probe_outputs", "data_validation", "data_test")
_TRIAL_FILES = ("weights", "probe_outputs", "log")


@dataclass
class World:
    """The law that holds in this process, and how long a stage takes there, seconds."""

    law: Law
    stage_s: float = 0.0


world = World(Law())


def run(kind: str, order: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
    """Answer as `stillhouse_service.tasks.run` does."""
    time.sleep(world.stage_s)
    store = ArtifactStore(surroundings.store, surroundings.max_artifact_bytes)
    if kind == "train":
        return _trained(order, store)
    if kind == "dry-run":
        return _made(order, store)
    if world.law.chance("diverge", order["seed"]) < world.law.p_diverge:
        reason = "the loss is not finite (made up)"
        return {
            "failure": {"stage": kind, "failure_class": "diverged", "reason": reason, "log": ""}
        }
    return _compressed(order, store)


def _trained(order: Mapping[str, Any], store: ArtifactStore) -> dict[str, Any]:
    law = world.law
    shapes = parameter_shapes(order["model"], order["dataset"])
    dense = truth(law, {}, {}, shapes)
    made = {name: _put(store, name, order, "train") for name in _BASELINE_FILES}
    made["onnx"] = _network(store, dense, "baseline")
    return {
        "artifacts": made,
        "metrics": {
            "validation_top1": law.baseline_top1,
            "test_top1": law.baseline_top1,
            "params": dense.params,
            "macs": dense.macs,
            "onnx_bytes": 4 * dense.params,
        },
        "details": {},
    }


def _compressed(order: Mapping[str, Any], store: ArtifactStore) -> dict[str, Any]:
    shapes = parameter_shapes(order["model"], order["dataset"])
    found = truth(world.law, order["schedule"], order["training"], shapes)
    made = {name: _put(store, name, order, "compress") for name in _TRIAL_FILES}
    made["schedule"] = _file(store, json.dumps(order["schedule"], indent=1))
    made["onnx"] = _network(store, found, order["seed"])
    return {
        "artifacts": made,
        "metrics": {
            "params": found.params,
            "macs": found.macs,
            "model_bytes": 4 * found.params,
        },
        "details": {"schedule": order["schedule"], "training": order["training"]},
    }


def _made(order: Mapping[str, Any], store: ArtifactStore) -> dict[str, Any]:
    """The extremes of a dry run."""
    shapes = parameter_shapes(order["model"], order["dataset"])
    dense = truth(world.law, {}, {}, shapes)
    files, told = {}, []
    for one in order["networks"]:
        found = truth(world.law, one["schedule"], one["training"], shapes)
        files[one["name"]] = _network(store, found, one["name"])
        told.append(
            {
                "name": one["name"],
                "config": one["config"],
                "macs": found.macs,
                "dense_macs": dense.macs,
                "is_decided": True,
            }
        )
    return {"artifacts": files, "metrics": {}, "details": {"networks": told}}


def _network(store: ArtifactStore, found: Truth, name: object) -> dict[str, Any]:
    return _file(store, json.dumps({"made_up": found.to_json(), "of": name}))


def _put(store: ArtifactStore, name: str, order: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return _file(store, f"made up: {name} of {kind} {order.get('seed')}\n")


def _file(store: ArtifactStore, text: str) -> dict[str, Any]:
    return vars(store.put(text.encode(), "text/plain"))
