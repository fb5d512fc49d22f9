"""`stillhouse study finalize`: the winner at full length, on the whole test split.

Depends on: typer; the client.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stillhouse import Client
from stillhouse_service.cli.experiment import follow, leave
from stillhouse_service.cli.experiment_stages import Training, Watch
from stillhouse_service.cli.options import (
    DEFAULT_SERVER,
    AsJson,
    Server,
    print_json,
    read_settings,
)
from stillhouse_service.report import wording


def finalize(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")],
    training: Training = [],  # noqa: B006  # typer copies it
    seed: Annotated[int | None, typer.Option(help="Else one that no trial of it had.")] = None,
    trial: Annotated[
        str | None, typer.Option(help="A feasible trial's id, e.g. of the front; else the winner.")
    ] = None,
    watch: Watch = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Train the winner as long as its baseline was, and measure it on the test split.

    Of several objectives any trial that keeps the limits may be chosen with `--trial`.
    """
    with Client(server) as client:
        experiment = client.studies.finalize(study_id, read_settings(training), seed, trial)
        if as_json:
            print_json(experiment.json)
        else:
            typer.echo(f"experiment {experiment.id}")
        if not watch:
            return
        ended = follow(client, experiment.id, as_json)
        found = client.studies.get(study_id).json["finalized"]
        if not as_json and found.get("top1") is not None:
            ratio = wording.interval(found, "latency_ratio")
            kept = "the limits are kept" if found["is_feasible"] else "a limit is broken"
            top1 = wording.value("top1", found["top1"])
            typer.echo(f"finalized, on the test split: ratio {ratio}, Top-1 {top1}; {kept}")
        leave(ended)
