"""Stage 2: the search template that a sweep's findings call for.

Depends on: the store, stillhouse_compression's sweep and template. Reads, never writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stillhouse_compression import datasets, models
from stillhouse_compression.sweep import ALGORITHMS
from stillhouse_compression.sweep.layer_sets import Group, prunable
from stillhouse_compression.template import check_against_model, parse_template
from stillhouse_compression.template.sweep_writer import Gain, write_sweep_template
from stillhouse_compression.template.writer import write_training
from stillhouse_service.errors import Conflict, NotFound
from stillhouse_service.experiment_analysis import gain, is_faster
from stillhouse_service.experiment_conclusions import Gain as Verdict
from stillhouse_service.experiment_results import read_results
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ExperimentRow

Row = Mapping[str, Any]

# Algorithms whose level is a share of filters: what a search can turn.
CLASSES = {
    "filters_l1": "L1RankedStructureParameterPruner_AGP",
    "filters_l2": "L2RankedStructureParameterPruner_AGP",
    "filters_apoz": "ActivationAPoZRankedFilterPruner_AGP",
}
_LEAST, _MOST = 0.05, 0.95
_STEP = 0.25  # between levels, where a sweep has only one of them


@dataclass(frozen=True)
class _Evidence:
    """What a sweep says of one group of layers.

    Attributes:
        trials: The narrowest that settle it: of the group alone, else of its stage, else of all.
        scope: How narrow.
        gain: What they say.
    """

    trials: Sequence[Row]
    scope: str
    gain: Verdict | None


def from_sweep(
    view: UnitOfWork, sweep: ExperimentRow, study_id: str | None = None
) -> dict[str, str]:
    """Write the template and the training section of the study that should follow a sweep.

    Args:
        view: The store.
        sweep: It has measured at least one trial that was faster.
        study_id: Of its studies, where it ran on several networks or devices; none: the first.

    Returns:
        `template` and `training`, YAML text; `study`, whose findings they are.

    Raises:
        NotFound: The sweep has no such study.
        Conflict: It is no sweep, or nothing of it was faster.
    """
    if sweep.stage != "sweep":
        raise Conflict(f"experiment {sweep.id} is no sweep but of stage {sweep.stage}")
    studies = view.experiments.studies_of(sweep.id)
    study = next((one for one in studies if study_id in (None, one.id)), None)
    if study is None:
        raise NotFound(f"sweep {sweep.id} has no study {study_id}")
    baseline = view.baselines.of(study)
    rows = [row for row in read_results(view, sweep).trials if row["study"] == study.id]
    measured = [row for row in rows if row["latency_ratio"] is not None]
    info = datasets.dataset_info(baseline.dataset)
    network = models.build(baseline.model, info.n_classes)
    ranked = [row for row in measured if row["algorithm"] in CLASSES]
    order = _gained(ranked)
    if not order:
        raise Conflict(
            f"no filter ranking of sweep {sweep.id} was distinguishably faster on "
            f"{study.spec['device']}: there is nothing that a search could turn; sweep higher "
            "levels, or measure more precisely (timing.target_interval)"
        )
    groups = prunable(network, info.shape).filter
    gains, left_out = _gains(groups, ranked, order)
    left_out += _idle(measured)
    limits = ", ".join(study.spec["constraints"]) or "no limits"
    title = (
        f"{baseline.model} on {study.spec['device']}, written from sweep {sweep.id} "
        f"({sweep.name}; {len(measured)} trials measured; {limits}). Ranges lie around the levels "
        "that were faster and kept the limits; edit them at will."
    )
    text = write_sweep_template(title, gains, left_out)
    training = write_training()
    problems = check_against_model(parse_template(text, training), network)
    assert not problems, problems  # what we write ourselves fits the network it was written for
    return {"template": text, "training": training, "study": study.id}


def _gained(rows: Sequence[Row]) -> list[str]:
    """Algorithms that were faster: the best, and those that noise cannot tell from it."""
    best: dict[str, Row] = {}
    for row in rows:
        if is_faster(row) and row["is_feasible"] is not False:
            known = best.get(row["algorithm"])
            if known is None or row["latency_ratio"] < known["latency_ratio"]:
                best[row["algorithm"]] = row
    names = sorted(best, key=lambda name: float(best[name]["latency_ratio"]))
    if not names:
        # Faster, but never within the limits: milder levels may be.
        return sorted({row["algorithm"] for row in rows if is_faster(row)})[:1]
    limit = best[names[0]]["latency_ratio_high"]
    return [name for name in names if best[name]["latency_ratio_low"] <= limit]


def _evidence(group: Group, rows: Sequence[Row]) -> _Evidence:
    narrowest = None  # where nothing settles it
    for scope, name in (("layer", group.name), ("stage", f"stage{group.stage}"), ("all", "all")):
        found = [row for row in rows if row["scope"] == scope and row["layers"] == name]
        if group.is_coupled:
            found = [row for row in found if ALGORITHMS[row["algorithm"]].takes_coupled]
        known = gain(found)
        if known in ("yes", "no"):
            return _Evidence(found, scope, known)
        if found and narrowest is None:
            narrowest = _Evidence(found, scope, known)
    return narrowest or _Evidence([], "none", None)


def _gains(
    groups: Sequence[Group], rows: Sequence[Row], order: Sequence[str]
) -> tuple[list[Gain], list[str]]:
    """Bundle the groups that gained by stage; say why the others did not."""
    bundled: dict[tuple[int, str], list[tuple[Group, _Evidence]]] = {}
    left_out = []
    for group in groups:
        evidence = _evidence(group, rows)
        if evidence.gain != "yes":
            left_out.append(f"{group.name}: {_why_not(evidence)}")
            continue
        kind = group.name if group.is_coupled else "free"
        bundled.setdefault((group.stage, kind), []).append((group, evidence))
    gains = []
    for (stage, kind), members in bundled.items():
        trials = list({row["trial"]: row for _, e in members for row in e.trials}.values())
        low, high, default = _range(trials)
        is_coupled = kind != "free"
        usable = [name for name in order if ALGORITHMS[name].takes_coupled or not is_coupled]
        faster = [row for row in trials if is_faster(row)]
        best = min(faster, key=lambda row: float(row["latency_ratio"]))
        kept = "kept the limits" if best["is_feasible"] else "broke the limits"
        scopes = ", ".join(dict.fromkeys(e.scope for _, e in members))
        twins = sum(s == stage and k != "free" for s, k in bundled)
        name = f"stage{stage}" + ("_coupled" if is_coupled else "")
        if is_coupled and twins > 1:
            name += f"_{members[0][0].weights[0].removesuffix('.weight').replace('.', '_')}"
        gains.append(
            Gain(
                name=name,
                classes=tuple(CLASSES[one] for one in usable) or (CLASSES["filters_l1"],),
                weights=tuple(w for group, _ in members for w in group.weights),
                is_coupled=is_coupled,
                low=low,
                high=high,
                default=default,
                why=f"{len(faster)} of {len(trials)} trials (by {scopes}) were faster; the "
                f"fastest, {best['case']}, at ratio {best['latency_ratio']:.3f}, {kept}.",
            )
        )
    return gains, left_out


def _range(trials: Sequence[Row]) -> tuple[float, float, float]:
    """Levels to search: half a step around those that were good, below those that broke a limit."""
    levels = sorted({float(row["level"]) for row in trials})
    steps = [b - a for a, b in pairwise(levels)]
    half = min(steps, default=_STEP) / 2
    faster = [row for row in trials if is_faster(row)]
    good = [row for row in faster if row["is_feasible"]]
    if not good:
        high = max(2 * _LEAST, min(float(row["level"]) for row in faster))
        return _LEAST, _rounded(high), _rounded((_LEAST + high) / 2)
    best = min(good, key=lambda row: float(row["latency_ratio"]))
    first = min(float(row["level"]) for row in good)
    last = max(float(row["level"]) for row in good)
    broken = [
        float(row["level"])
        for row in trials
        if row["is_feasible"] is False and float(row["level"]) > last
    ]
    low = max(_LEAST, first - half)
    high = min(_MOST, last + half, *broken)
    return _rounded(low), _rounded(max(high, low + _LEAST)), _rounded(float(best["level"]))


def _why_not(evidence: _Evidence) -> str:
    if not evidence.trials:
        return "the sweep has no trial that cut it"
    best = min(evidence.trials, key=lambda row: float(row["latency_ratio"]))
    where = {"layer": "alone", "stage": "with its stage", "all": "with all others"}
    return (
        f"cut {where[evidence.scope]} it made nothing distinguishably faster on this device (best "
        f"{best['case']}: ratio {best['latency_ratio']:.3f}, {best['latency_ratio_low']:.3f} to "
        f"{best['latency_ratio_high']:.3f})"
    )


def _idle(measured: Sequence[Row]) -> list[str]:
    """Name the algorithms that are not searched, and why."""
    said = []
    for name in dict.fromkeys(row["algorithm"] for row in measured):
        own = [row for row in measured if row["algorithm"] == name]
        if name in CLASSES or own[0]["is_control"]:
            continue
        n_faster = sum(is_faster(row) for row in own)
        if n_faster == 0:
            said.append(f"{name}: none of its {len(own)} trials was distinguishably faster")
        else:
            said.append(
                f"{name}: {n_faster} of its {len(own)} trials were faster, but its level is no "
                "share of filters; the rankings above reach the same networks"
            )
    return said


def _rounded(level: float) -> float:
    return round(level, 3)
