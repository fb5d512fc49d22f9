"""All commands together.

Depends on: typer.
"""

from __future__ import annotations

import typer

from stillhouse_service.cli import (
    artifacts,
    asking,
    bench,
    compute_worker,
    config,
    dataset,
    db,
    demonstration,
    doctor,
    experiment,
    experiment_stages,
    finalize,
    front,
    model,
    research,
    results,
    sensitivity,
    serving,
    simulate,
    study,
    templates,
    token,
    training,
    transfer,
    trial,
    verify,
    webhook,
)

app = typer.Typer(
    name="stillhouse",
    help="Finds the compression schedule that makes a network fastest on your own device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serving.serve)
app.command()(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(db.app, name="db")
app.add_typer(artifacts.app, name="artifacts")
app.command("compute-worker")(compute_worker.compute_worker)
app.add_typer(token.app, name="token")
app.add_typer(dataset.app, name="dataset")
app.add_typer(model.app, name="model")
study.app.command()(asking.ask)
study.app.command()(finalize.finalize)
study.app.command()(front.front)
study.app.command()(transfer.transfer)
study.app.command("import")(asking.import_trials)
trial.app.command()(asking.tell)
app.add_typer(study.app, name="study")
app.add_typer(trial.app, name="trial")
app.add_typer(webhook.app, name="webhook")
app.add_typer(experiment.app, name="experiment")
app.command()(results.report)
app.command()(results.importance)
app.command()(templates.template)
app.command()(sensitivity.sensitivity)
app.command()(verify.verify)
app.command()(training.train)
experiment.app.command()(experiment_stages.verify)
experiment.app.command("run")(research.run)
app.command()(experiment_stages.baseline)
app.command()(experiment_stages.sweep)
app.command()(experiment_stages.combine)
app.command()(demonstration.demo)
app.add_typer(simulate.app, name="simulate")
app.command(context_settings=bench.PASS_ON)(bench.bench)
