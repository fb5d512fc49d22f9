"""The dry run of a study: its template's extremes, untrained, shown to the stick's compiler.

A study for MYRIAD begins with it. Compute makes the networks (`dry-run`), whichever host has the
compiler compiles them (`compile`; no stick is needed), and only then is the baseline measured. What
the device cannot run, and a template that cannot make a network faster, end the study in a minute.

Depends on: the store, stillhouse_benchmark.protocol, stillhouse_compression.template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stillhouse_benchmark.protocol import COMPILES, CheckJob, CheckResult, File, NamedNetwork
from stillhouse_compression.template import parse_template
from stillhouse_service import outcomes
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.errors import ArtifactCorrupt
from stillhouse_service.states import StudyState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import BaselineRow, StageRow, StudyRow

KIND = "MYRIAD"  # whose compiler runs where the device is not
_DENSE = "the baseline"
_FASTER = ("latency_", "throughput_")
_MAX_CONFIG = 300


def is_wanted(work: UnitOfWork, device: str) -> bool:
    """Tell whether a study for `device`, a kind, name or id, begins with a dry run."""
    if device.partition(".")[0] == KIND:
        return True
    return any(row.id == device and row.kind == KIND for row, _ in work.devices.all_with_hosts())


def begin(work: UnitOfWork, study: StudyRow) -> StageRow:
    """Have compute make the untrained extremes."""
    baseline = work.baselines.of(study)
    order = {
        "model": baseline.model,
        "dataset": baseline.dataset,
        "weights": baseline.artifacts["weights"],
        "seed": int(study.spec["seed"]),
        "networks": list(_extremes(study, baseline)),
    }
    return outcomes.new_stage(work, "dry-run", order=order, study=study)


def made(work: UnitOfWork, stage: StageRow, outcome: Mapping[str, Any]) -> None:
    """The extremes are there: they go to the compiler, unless they are of no use."""
    assert stage.study_id is not None
    study = work.studies.named(stage.study_id)
    files = outcomes.register(work, outcome["artifacts"])
    found = outcome["details"]["networks"]
    problem = next((_broken(one) for one in found if "reason" in one), None) or _useless(
        study, found
    )
    if problem is not None:
        _reject(work, study, problem)
        return
    baseline = work.baselines.of(study)
    networks = {_DENSE: baseline.artifacts["onnx"], **files}
    order = {"device": KIND, "networks": networks, "configs": _configs(stage)}
    outcomes.new_stage(work, "compile", order=order, study=study, device=f"{COMPILES}{KIND}")


def job_of(work: UnitOfWork, stage: StageRow) -> CheckJob:
    """Name the networks for whoever has the compiler.

    Raises:
        ArtifactCorrupt: A file that the job names is not registered.
    """
    networks = []
    known = work.log.artifacts(stage.order["networks"].values())
    for name, sha256 in stage.order["networks"].items():
        artifact = known.get(sha256)
        if artifact is None:
            raise ArtifactCorrupt(f"job {stage.id}: {name!r} is not among the artifacts")
        networks.append(NamedNetwork(name, File(artifact.sha256, artifact.n_bytes)))
    return CheckJob(id=stage.id, device=stage.order["device"], networks=tuple(networks))


def compiled(work: UnitOfWork, stage: StageRow, checked: CheckResult) -> None:
    """The compiler has spoken: the study goes on to its baseline's check, or ends."""
    assert stage.study_id is not None
    study = work.studies.named(stage.study_id)
    for name, said in checked.networks.items():
        if said.is_supported:
            continue
        layers = f" at {', '.join(said.layers)}" if said.layers else ""
        config = stage.order["configs"].get(name)
        with_config = f" ({_shown(config)})" if config else ""
        what = f"{name}{with_config} does not compile for {said.device}{layers}: {said.reason}"
        _reject(work, study, what)
        return
    sizes = [said.blob_bytes for said in checked.networks.values() if said.blob_bytes is not None]
    told = f"{len(checked.networks)} networks compile for {KIND}"
    if sizes:
        told += f", to blobs of {min(sizes)} to {max(sizes)} bytes"
    work.note(study, outcomes.SERVER, kind="dry-run", reason=told)
    outcomes.check_baseline(work, study)


def _extremes(study: StudyRow, baseline: BaselineRow) -> Iterator[dict[str, Any]]:
    """Give every extreme that builds a network of its own, named and rendered."""
    template = parse_template(study.spec["template"], study.spec["training"])
    shapes = parameter_shapes(baseline.model, baseline.dataset)
    seen = set()
    for i, config in enumerate(template.extremes()):
        rendered = template.render(config, shapes)
        # How it is trained makes no difference here, but for how long.
        lengths = {k: v for k, v in rendered.training.items() if k in ("epochs", "recovery_epochs")}
        key = json.dumps([rendered.schedule, lengths], sort_keys=True)
        if key not in seen:
            seen.add(key)
            yield {
                "name": f"extreme {i}" if i else "the template's default",
                "config": config,
                "schedule": rendered.schedule,
                "training": rendered.training,
            }


def _broken(one: Mapping[str, Any]) -> str:
    """Say that an extreme does not even become a network."""
    return f"{one['name']} ({_shown(one['config'])}) cannot be made: {one['reason']}"


def _useless(study: StudyRow, found: list[Mapping[str, Any]]) -> str | None:
    """Say why no trial could be faster; none: some could, or only training would tell.

    A dense runtime computes zeros like any other number: only smaller tensors are faster.
    """
    if not str(study.spec["objectives"][0]).startswith(_FASTER):
        return None
    if any(one["macs"] < one["dense_macs"] or not one["is_decided"] for one in found):
        return None
    return (
        f"none of the template's {len(found)} extremes cuts a filter or channel: all keep the "
        f"baseline's {found[0]['dense_macs']} multiply-accumulates, and zeros alone make nothing "
        f"faster on {KIND}; prune structures (group_type: Filters), or widen the ranges"
    )


def _configs(stage: StageRow) -> dict[str, Any]:
    return {one["name"]: one["config"] for one in stage.order["networks"]}


def _reject(work: UnitOfWork, study: StudyRow, problem: str) -> None:
    study.reason = f"dry run: {problem}"
    work.move(study, StudyState.REJECTED, who=outcomes.SERVER, reason=study.reason)


def _shown(config: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name}={value}" for name, value in config.items())
    return text if len(text) <= _MAX_CONFIG else f"{text[: _MAX_CONFIG - 3]}..."
