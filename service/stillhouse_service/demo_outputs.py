"""What a finished demo leaves behind: schedule, network, importance, report, summary.

Depends on: the client, report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse import Baseline, Client, Importance, Study, Trial, TrialDetail
from stillhouse_service.report import Facts, importance_csv
from stillhouse_service.report.importance_csv import ranked

Json = Mapping[str, Any]


def write_outputs(
    client: Client, study: Study, baseline: Baseline, folder: Path
) -> tuple[Facts, Importance, dict[str, Path]]:
    """Fetch everything a study found and write it into `folder`.

    Args:
        client: The server that ran it.
        study: A finished study.
        baseline: Its baseline.
        folder: Exists.

    Returns:
        What the study found, its importance, and the files by name; `winner` and `network` are
        not among them if no trial was feasible.
    """
    trials = client.studies.trials(study.id)
    importance = client.studies.importance(study.id)
    files: dict[str, Path] = {}
    winner = _winner(client, study)
    if winner is not None:
        files["winner"] = folder / "winner.yaml"
        client.artifacts.download(winner.artifacts["schedule"], files["winner"])
        files["network"] = folder / "winner.onnx"
        client.artifacts.download(winner.artifacts["onnx"], files["network"])
    files["importance"] = folder / "importance.json"
    files["importance"].write_text(_pretty(importance.json), encoding="utf-8")
    files["importance_csv"] = folder / "importance.csv"
    files["importance_csv"].write_text(importance_csv(importance.json), encoding="utf-8")
    files["report"] = folder / "report.html"
    files["report"].write_text(client.studies.report(study.id), encoding="utf-8")
    return Facts(study.json, _with(trials, winner), baseline.json), importance, files


def summary(facts: Facts, importance: Json, files: Mapping[str, Path]) -> dict[str, Any]:
    """Say for programs what the demo prints for people; fractions stay fractions."""
    winner = facts.winner
    return {
        "study_id": facts.study["id"],
        "state": facts.study["state"],
        "n_trials": len(facts.trials),
        "n_complete": len(facts.complete),
        "n_failed": len(facts.failed),
        "n_feasible": len(facts.feasible),
        "constraints": facts.study["spec"]["constraints"],
        "share_infeasible": facts.share_infeasible,
        "noise_floor": max(facts.noise_floor, default=None),
        "baseline": {
            "id": facts.baseline["id"],
            "p50_ms": facts.baseline_p50_ms(),
            **facts.baseline["metrics"],
        },
        "winner": None
        if winner is None
        else {
            "trial_id": winner["id"],
            "number": winner["number"],
            "config": winner["config"],
            "validation": winner["metrics"],
            "test": facts.study["final"],
        },
        "importance": {
            metric: {
                "verdict": found["verdict"],
                "r2_oob": found.get("r2_oob"),
                "top": [
                    {key: entry.get(key) for key in ("name", "importance", "direction")}
                    for entry in ranked(found)[:3]
                ],
            }
            for metric, found in importance["metrics"].items()
        },
        "files": {name: str(path) for name, path in files.items()},
    }


def write_summary(path: Path, content: Json) -> None:
    """Write a JSON file so that it is there whole or not at all: it marks the demo as finished."""
    draft = path.with_suffix(".tmp")
    draft.write_text(_pretty(content), encoding="utf-8")
    draft.replace(path)


def _winner(client: Client, study: Study) -> TrialDetail | None:
    if study.incumbent is None:
        return None
    return client.trials.get(str(study.incumbent["trial_id"]))


def _with(trials: Sequence[Trial], winner: TrialDetail | None) -> list[Json]:
    """Give the trials' JSON, the winner's with its details."""
    return [
        winner.json if winner is not None and trial.id == winner.id else trial.json
        for trial in trials
    ]


def _pretty(content: Json) -> str:
    return json.dumps(dict(content), indent=2, ensure_ascii=False) + "\n"
