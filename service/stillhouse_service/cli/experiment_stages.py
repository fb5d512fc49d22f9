"""`stillhouse experiment verify`, `baseline`, `sweep`, `combine`: stages of the research plan.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from stillhouse import Client
from stillhouse_service.baseline_choice import complete_baseline
from stillhouse_service.cli.experiment import follow, leave
from stillhouse_service.cli.options import (
    DEFAULT_SERVER,
    AsJson,
    Server,
    print_json,
    read_settings,
)
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.report import wording

Names = Annotated[
    list[str], typer.Argument(metavar="BASELINE...", help="Ids bsl_..., or networks' names.")
]
Device = Annotated[list[str], typer.Option("--device", help="Kind or id; one --device each.")]
Name = Annotated[str | None, typer.Option(help="What the experiment is called.")]
Training = Annotated[
    list[str],
    typer.Option("--training", metavar="NAME=VALUE", help="A fine-tuning setting; one each."),
]
Limits = Annotated[
    list[str], typer.Option("--constraint", help="A limit such as `top1_drop <= 0.02`; one each.")
]
Seed = Annotated[int, typer.Option(help="Of everything random in it.")]
Parallel = Annotated[int, typer.Option(min=1, help="Trials of one study under way at once.")]
OnlyPlan = Annotated[bool, typer.Option("--plan", help="Print trials and estimate, start nothing.")]
Watch = Annotated[bool, typer.Option("--watch", help="Stay and watch it.")]


def baseline(
    names: Names,
    device: Device = ["CPU"],  # noqa: B006  # typer copies it
    name: Name = None,
    plan: OnlyPlan = False,
    watch: Watch = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Measure baselines on devices: latency, layer by layer too, accuracy, size (stage 1a)."""
    with Client(server) as client:
        spec = {
            "stage": "baseline",
            "name": name or "baselines",
            "baselines": _ids(client, names),
            "devices": device,
        }
        start(client, spec, plan, watch, as_json)


def verify(
    names: Names,
    device: Device = ["CPU"],  # noqa: B006  # typer copies it
    name: Name = None,
    plan: OnlyPlan = False,
    watch: Watch = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Follow pruned networks from torch to devices, stored (stage 0); see `stillhouse verify`."""
    with Client(server) as client:
        spec = {
            "stage": "verify",
            "name": name or "verification",
            "baselines": _ids(client, names),
            "devices": device,
        }
        start(client, spec, plan, watch, as_json)


def sweep(
    names: Names,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="sweep.yaml: grid, cases, training, constraints, timing."),
    ] = None,
    algorithm: Annotated[
        list[str], typer.Option("--algorithm", help="Only these; one --algorithm each.")
    ] = [],  # noqa: B006  # typer copies it
    layers: Annotated[
        list[str],
        typer.Option("--layers", help="`all`, `stage`, `layer` (each in turn), or single names."),
    ] = ["all", "stage"],  # noqa: B006  # typer copies it
    device: Device = ["CPU"],  # noqa: B006  # typer copies it
    training: Training = [],  # noqa: B006  # typer copies it
    constraint: Limits = [],  # noqa: B006  # typer copies it
    name: Name = None,
    seed: Seed = 0,
    parallel: Parallel = 1,
    plan: OnlyPlan = False,
    watch: Watch = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Compress by each algorithm alone: levels x layer subsets (stage 1b)."""
    spec: dict[str, Any] = {"stage": "sweep", "name": name or "sweep", "devices": device}
    spec |= {"seed": seed, "parallel": parallel, "constraints": constraint}
    if file is not None:
        spec |= sweep_file(file)
    if algorithm:
        spec["grid"] = [{"algorithm": one, "layers": layers} for one in algorithm]
    if training:
        spec["training"] = {**(spec.get("training") or {}), **read_settings(training)}
    with Client(server) as client:
        start(client, spec | {"baselines": _ids(client, names)}, plan, watch, as_json)


def combine(
    sweep_id: Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's id, exp_...")],
    name: Name = None,
    constraint: Limits = [],  # noqa: B006  # typer copies it
    training: Training = [],  # noqa: B006  # typer copies it
    plan: OnlyPlan = False,
    watch: Watch = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Put the best pair of each domain of a sweep together (stage 1d)."""
    with Client(server) as client:
        of_sweep = client.experiments.get(sweep_id).spec
        spec = {
            "stage": "combine",
            "name": name or "combination",
            "sweep": sweep_id,
            "constraints": constraint or of_sweep["constraints"],
            "seed": of_sweep["seed"],
            "timing": of_sweep["timing"],
            "training": read_settings(training) or of_sweep["training"],
        }
        start(client, spec, plan, watch, as_json)


def start(
    client: Client, spec: dict[str, Any], is_plan: bool, is_watched: bool, as_json: bool
) -> None:
    """Print the plan of an experiment, and start it unless the plan was all that was wanted."""
    planned = client.experiments.plan(spec)
    if is_plan and as_json:
        print_json(planned)
        return
    console = Console(stderr=as_json, highlight=False, markup=False)
    print_plan(console, planned, is_long=is_plan)
    if is_plan:
        return
    experiment = client.experiments.create(spec)
    if as_json:
        print_json(experiment.json)
    else:
        console.print(f"experiment {experiment.id}")
    if is_watched:
        leave(follow(client, experiment.id, as_json))


def print_plan(console: Console, planned: Any, is_long: bool = False) -> None:
    """Say how many trials there will be and how long they will take."""
    if is_long:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("case", "device", "estimate"):
            table.add_column(column)
        for trial in planned["trials"]:
            table.add_row(trial["case"], trial["device"], wording.duration(trial["estimate_s"]))
        console.print(table)
    for note in planned["notes"]:
        console.print(note, soft_wrap=True)
    estimate = wording.duration(planned["estimate_s"])
    console.print(f"{planned['n_trials']} trials, about {estimate} one after another")


def sweep_file(path: Path) -> dict[str, Any]:
    """Read a sweep's file: members of an experiment; a case's schedule may be a file's name.

    Raises:
        SpecRejected: It cannot be read, or is no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecRejected([Problem("--file", f"cannot read {path}: {error}")]) from error
    if not isinstance(found, dict):
        raise SpecRejected([Problem("--file", f"{path} must hold a mapping, key: value")])
    for case in found.get("cases") or ():
        if not isinstance(case, dict):
            continue  # the server says what is wrong with it
        schedule = case.get("schedule")
        if isinstance(schedule, dict):
            case["schedule"] = yaml.safe_dump(schedule, sort_keys=False)
        elif isinstance(schedule, str) and "\n" not in schedule:
            case["schedule"] = _schedule_file(path.parent / schedule)
    return found


def _schedule_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecRejected([Problem("cases", f"cannot read {path}: {error}")]) from error


def _ids(client: Client, names: list[str]) -> list[str]:
    return [complete_baseline(client, name).id for name in names]
