"""What a finished research plan leaves behind: tables, reports, and one page with conclusions.

Depends on: the client, report. The page is Markdown; every figure of it comes from the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse import Client
from stillhouse_service.demo_outputs import write_summary
from stillhouse_service.report import Facts, describe_environment, sentences
from stillhouse_service.report.experiment_svg import ratio_plot, scatter_plot
from stillhouse_service.report.experiment_tables import tables
from stillhouse_service.report.tables import comparison_cells
from stillhouse_service.research import Research
from stillhouse_service.research_file import ResearchPlan

Json = Mapping[str, Any]
_TITLES = {
    "verify": "Stage 0: does sparsity survive the way to the device?",
    "baseline": "Stage 1a: the baseline",
    "sweep": "Stages 1b and 1c: each algorithm alone",
    "combine": "Stage 1d: the best of each domain together",
}
# A baseline alone, or networks that are only looked after, have nothing to compare.
_SHOWN = {
    "verify": ("Trials",),
    "baseline": ("The baseline on the device", "Trials"),
    "combine": ("Trials", "Combined and alone"),
}


def write_page(
    client: Client, plan: ResearchPlan, found: Research, folder: Path, page: Path | None
) -> list[Path]:
    """Write results, reports and the page.

    Args:
        client: The server.
        plan: What was to be found out.
        found: What was.
        folder: Exists; gets everything, and summary.json last: it marks the run as finished.
        page: Also write the page and its plots here.

    Returns:
        The files, in the order they were written.
    """
    files = []
    evaluations: dict[str, Json] = {}
    for stage, experiment in found.stages.items():
        for table in ("trials", "layers"):
            files.append(folder / f"{stage}-{table}.csv")
            files[-1].write_bytes(client.experiments.results(experiment.id, table, "csv"))
        files.append(folder / f"{stage}.html")
        files[-1].write_text(client.experiments.report(experiment.id), encoding="utf-8")
        evaluations[stage] = client.experiments.analysis(experiment.id)["analyses"][0]
    if found.study is not None:
        files.append(folder / "study.html")
        files[-1].write_text(client.studies.report(found.study.id), encoding="utf-8")
    plots = dict(_plots(evaluations))
    for place in [folder / f"{plan.name}.md", *([page] if page else [])]:
        place.parent.mkdir(parents=True, exist_ok=True)
        for name, drawing in plots.items():
            files.append(place.with_name(f"{place.stem}-{name}.svg"))
            files[-1].write_text(drawing, encoding="utf-8")
        names = {name: f"{place.stem}-{name}.svg" for name in plots}
        text = "\n".join(_page(client, plan, found, evaluations, names))
        files.append(place)
        place.write_text(text + "\n", encoding="utf-8")
    summary = {
        "stages": {stage: one.id for stage, one in found.stages.items()},
        "study": None if found.study is None else found.study.id,
        "finalized": None if found.study is None else found.study.json["finalized"],
        "conclusions": {
            stage: list(one["analysis"]["conclusions"]) for stage, one in evaluations.items()
        },
        "remarks": found.remarks,
    }
    files.append(folder / "summary.json")
    write_summary(files[-1], summary)
    return files


def _plots(evaluations: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for stage in ("sweep", "combine"):
        if stage in evaluations:
            yield f"{stage}-ratios", ratio_plot(evaluations[stage]["trials"])
    if "sweep" in evaluations:
        trials = evaluations["sweep"]["trials"]
        yield "sweep-macs", scatter_plot(trials, "mac_share", "MACs left")
        yield "sweep-accuracy", scatter_plot(trials, "top1_drop", "Top-1 lost, validation split")


def _page(
    client: Client,
    plan: ResearchPlan,
    found: Research,
    evaluations: Mapping[str, Json],
    plots: Mapping[str, str],
) -> Iterator[str]:
    yield f"# Research plan: {plan.name}"
    yield ""
    yield "Written by `stillhouse experiment run` from what was measured; not edited by hand."
    yield ""
    yield (
        f"{plan.baseline['model']} on {plan.baseline['dataset']}, device {plan.device}; limits: "
        f"{', '.join(plan.shared['constraints']) or 'none'}; fine-tuning of a trial: "
        f"`{json.dumps(dict(plan.training))}`."
    )
    yield ""
    environment = describe_environment()
    packages = ", ".join(f"{name} {one}" for name, one in environment["packages"].items())
    yield (
        f"Python {environment['python']}, {environment['processors']} processors, "
        f"{environment['system']}; {packages}."
    )
    for stage, title in _TITLES.items():
        if stage in evaluations:
            yield from _stage(title, stage, evaluations[stage], found.stages[stage].notes, plots)
    yield from _search(client, found, evaluations)
    if found.remarks:
        yield from ("", "## Left out", "")
        yield from (f"* {remark}" for remark in found.remarks)


def _stage(
    title: str, stage: str, evaluation: Json, notes: Sequence[str], plots: Mapping[str, str]
) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield from (f"* {sentence}" for sentence in evaluation["analysis"]["conclusions"])
    if notes:
        yield from ("", "How it was laid out:", "", *(f"* {note}" for note in notes))
    for name, file in plots.items():
        if name.startswith(f"{stage}-"):
            yield from ("", f"![{name.replace('-', ', ')}]({file})")
    for table in tables(evaluation):
        if table.title in _SHOWN.get(stage, (table.title,)):
            yield from ("", f"### {table.title}", "")
            if table.note:
                yield from (table.note, "")
            yield table.to_markdown()
    yield ""


def _search(client: Client, found: Research, evaluations: Mapping[str, Json]) -> Iterator[str]:
    study = found.study
    if study is None:
        return
    trials = [trial.json for trial in client.studies.trials(study.id)]
    if study.incumbent is not None:
        winner = client.trials.get(str(study.incumbent["trial_id"])).json
        trials = [winner if one["id"] == winner["id"] else one for one in trials]
    facts = Facts(study.json, trials, found.baseline.json)
    yield from ("", "## Stages 2 and 3: the search", "")
    yield from (f"* {sentence}" for sentence in sentences.outcome(facts))
    if study.incumbent is not None:
        yield f"* {_beside_the_sweep(study.incumbent, evaluations['sweep']['trials'])}"
    yield f"* {sentences.split_note(facts)}"
    yield f"* {sentences.noise_note(facts)}"
    yield from ("", "The template, written from the sweep:", "", "```yaml")
    yield str(study.spec["template"]).rstrip()
    yield "```"
    yield from ("", "## Summary", "", sentences.finalized_note(facts), "")
    rows = [comparison_cells(row) for row in facts.summary()]
    if rows:
        yield "| | baseline | finalized winner | change |"
        yield "| --- | ---: | ---: | ---: |"
        for row in rows:
            yield f"| {row['name']} | {row['baseline']} | {row['best']} | {row['change']} |"


def _beside_the_sweep(winner: Json, trials: Sequence[Json]) -> str:
    """Say whether the search found more than the sweep had; the limits hold for both."""
    measured = [row for row in trials if row["latency_ratio"] is not None and row["is_feasible"]]
    if not measured:
        return "No trial of the sweep kept the limits."
    best = min(measured, key=lambda row: float(row["latency_ratio"]))
    low, high = best["latency_ratio_low"], best["latency_ratio_high"]
    if winner["latency_ratio_high"] < low:
        verdict = "is faster"
    elif winner["latency_ratio_low"] > high:
        verdict = "is slower: the template's ranges miss what that trial had"
    else:
        verdict = "cannot be told from it"
    return (
        f"The sweep's fastest trial within the limits, {best['case']}, had ratio "
        f"{best['latency_ratio']:.3f} ({low:.3f} to {high:.3f}): the search's winner {verdict}."
    )
