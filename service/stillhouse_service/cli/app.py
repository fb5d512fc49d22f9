"""All commands together.

Depends on: typer.
"""

from __future__ import annotations

import typer

from stillhouse_service.cli import (
    bench,
    dataset,
    db,
    demonstration,
    model,
    results,
    sensitivity,
    serving,
    study,
    templates,
    token,
    training,
    trial,
    verify,
)

app = typer.Typer(
    name="stillhouse",
    help="Finds the compression schedule that makes a network fastest on your own device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serving.serve)
app.add_typer(db.app, name="db")
app.add_typer(token.app, name="token")
app.add_typer(dataset.app, name="dataset")
app.add_typer(model.app, name="model")
app.add_typer(study.app, name="study")
app.add_typer(trial.app, name="trial")
app.command()(results.report)
app.command()(results.importance)
app.command()(templates.template)
app.command()(sensitivity.sensitivity)
app.command()(verify.verify)
app.command()(training.train)
app.command()(demonstration.demo)
app.command(context_settings=bench.PASS_ON)(bench.bench)
