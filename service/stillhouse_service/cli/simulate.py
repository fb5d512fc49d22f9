"""`stillhouse simulate`: try a study's settings, or load a server, with a fleet that is made up.

Depends on: typer; the simulation, which is imported when it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse_service.cli.options import AsJson, print_json
from stillhouse_service.report import wording
from stillhouse_service.study_file import study_spec_from_file

if TYPE_CHECKING:
    from stillhouse_service.simulation.hosts import Tally
    from stillhouse_service.simulation.trial_run import Outcome

app = typer.Typer(no_args_is_help=True, help="Made-up hosts and workers at a real server.")
Noise = Annotated[float, typer.Option(help="Standard deviation of a latency ratio, a fraction.")]
Unsupported = Annotated[
    float, typer.Option(help="Share of one layer's sparsities that the device cannot run.")
]
Diverge = Annotated[float, typer.Option(help="Probability that a trial's training diverges.")]
Crash = Annotated[float, typer.Option(help="Probability that a host dies with a job in its hand.")]
Hang = Annotated[float, typer.Option(help="Probability that a job hangs until its time limit.")]
Granularity = Annotated[int, typer.Option(help="Channels that the device computes at once.")]
Images = Annotated[int, typer.Option(help="Images that accuracy is counted on.")]
WorldSeed = Annotated[int, typer.Option("--world", help="Seed of the made-up world.")]


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="study.yaml, as for `stillhouse study create`.")],
    trials: Annotated[int | None, typer.Option(help="Instead of the file's budget.")] = None,
    parallel: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    surrogate: Annotated[str | None, typer.Option(help="Instead of the file's.")] = None,
    hosts: Annotated[int, typer.Option(min=1, help="Device hosts.")] = 2,
    compute: Annotated[int, typer.Option(min=1, help="Compute workers.")] = 4,
    noise: Noise = 0.02,
    n_images: Images = 1000,
    granularity: Granularity = 8,
    p_unsupported: Unsupported = 0.0,
    p_diverge: Diverge = 0.0,
    p_crash: Crash = 0.0,
    p_hang: Hang = 0.0,
    world: WorldSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Try a study's settings before hours are spent on it: what would it find, and when?

    A real server runs it, in a folder that is removed at the end; networks, device and training are
    made up by a law of which the best config is known. Another --world is another law.
    """
    from stillhouse_service.simulation.law import Law
    from stillhouse_service.simulation.trial_run import try_out

    law = Law(
        seed=world,
        granularity=granularity,
        noise=noise,
        n_images=n_images,
        p_unsupported=p_unsupported,
        p_diverge=p_diverge,
        p_crash=p_crash,
        p_hang=p_hang,
    )
    spec = study_spec_from_file(file)
    given = {"parallel": parallel, "seed": seed, "surrogate": surrogate}
    spec |= {key: value for key, value in given.items() if value is not None}
    if trials is not None:
        spec["budget"] = {**spec.get("budget", {}), "trials": trials}
    with tempfile.TemporaryDirectory(prefix="stillhouse-simulate-") as folder:
        found = try_out(spec, law, Path(folder) / "server", hosts, compute)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    if found.study.state != "finished":
        raise typer.Exit(1)


@app.command()
def fleet(
    url: Annotated[list[str], typer.Argument(help="The server; several of one installation.")],
    hosts: Annotated[int, typer.Option(min=0, help="Device hosts.")] = 200,
    compute: Annotated[int, typer.Option(min=0, help="Compute workers; needs --scheduler.")] = 0,
    scheduler: Annotated[str | None, typer.Option(help="The server's Dask scheduler.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long.")] = 30.0,
    job: Annotated[float, typer.Option(min=0, help="Seconds that a job takes.")] = 0.0,
    stage: Annotated[float, typer.Option(min=0, help="Seconds that compressing takes.")] = 0.0,
    kind: Annotated[str, typer.Option(help="Kind of the devices.")] = "CPU",
    token: Annotated[
        str | None, typer.Option(envvar="STILLHOUSE_TOKEN", help="Of scope `worker`.")
    ] = None,
    noise: Noise = 0.02,
    p_unsupported: Unsupported = 0.0,
    p_diverge: Diverge = 0.0,
    p_crash: Crash = 0.0,
    p_hang: Hang = 0.0,
    world: WorldSeed = 0,
    as_json: AsJson = False,
) -> None:
    """Load a server with made-up hosts and workers for a while, and say how it bore it.

    What it measures is made up: never point it at a server whose studies are meant.
    """
    from stillhouse_service.simulation.law import Law

    law = Law(
        seed=world,
        noise=noise,
        p_unsupported=p_unsupported,
        p_diverge=p_diverge,
        p_crash=p_crash,
        p_hang=p_hang,
    )
    if compute and scheduler is None:
        raise typer.BadParameter("compute workers need the address of the server's scheduler")
    begun_s = time.perf_counter()
    tally = asyncio.run(
        _load(url, law, hosts, compute, scheduler, seconds, job, stage, kind, token)
    )
    shown = _load_shown(tally, time.perf_counter() - begun_s)
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        typer.echo(f"{name.replace('_', ' '):28} {value}")


async def _load(
    urls: list[str],
    law: Any,
    n_hosts: int,
    n_compute: int,
    scheduler: str | None,
    seconds: float,
    job_s: float,
    stage_s: float,
    kind: str,
    token: str | None,
) -> Tally:
    from contextlib import AsyncExitStack

    from stillhouse_service.simulation.fleet import Fleet, simulated_hosts
    from stillhouse_service.simulation.workers import simulated_workers

    async with AsyncExitStack() as stack:
        if n_compute:
            await stack.enter_async_context(simulated_workers(n_compute, law, stage_s, scheduler))
        fleet_of = Fleet(n_hosts, kind, job_s, f"simulated-{os.getpid()}")
        tally = await stack.enter_async_context(simulated_hosts(fleet_of, law, urls, token))
        await asyncio.sleep(seconds)
        return tally


def _load_shown(tally: Tally, elapsed_s: float) -> dict[str, Any]:
    ranked = sorted(tally.wait_ms)
    return {
        "leases": len(tally.leased_at),
        "leases_a_second": round(len(tally.leased_at) / elapsed_s, 2),
        "handed_out_twice": tally.n_twice,
        "results_taken": tally.n_told,
        "failures_told": tally.n_failed,
        "reports_refused": tally.n_refused,
        "requests_without_answer": tally.n_errors,
        "hosts_died": tally.n_crashed,
        "jobs_hung": tally.n_hung,
        "report_p50_ms": round(ranked[len(ranked) // 2], 1) if ranked else None,
        "report_p95_ms": round(ranked[int(0.95 * (len(ranked) - 1))], 1) if ranked else None,
    }


def _as_json(found: Outcome) -> dict[str, Any]:
    objective = str(found.study.spec["objectives"][0])
    best = found.best
    return {
        "objective": objective,
        "state": found.study.state,
        "reason": found.study.reason,
        "counts": dict(found.study.counts),
        "elapsed_s": round(found.elapsed_s, 2),
        "incumbent": found.study.incumbent,
        "incumbent_truly": found.found,
        "best": None if best is None else {"config": dict(best.config), "value": best.value},
        "trials_until_within_5_percent": found.n_trials_within(0.05),
        "trials_until_within_1_percent": found.n_trials_within(0.01),
        "hosts_died": found.tally.n_crashed,
        "jobs_hung": found.tally.n_hung,
    }


def _print(found: Outcome) -> None:
    shown = _as_json(found)
    objective, best, incumbent = shown["objective"], found.best, found.study.incumbent
    counts = ", ".join(f"{n} {state}" for state, n in found.study.counts.items() if n)
    reason = f": {found.study.reason}" if found.study.reason else ""
    typer.echo(f"{found.study.state}{reason} ({counts}), {found.elapsed_s:.0f} s")
    if found.tally.n_crashed or found.tally.n_hung:
        typer.echo(f"hosts died {found.tally.n_crashed} times, {found.tally.n_hung} jobs hung")
    if incumbent is None:
        typer.echo("it found no config that keeps the limits")
    else:
        truly = "breaks a limit in truth" if found.found is None else f"truly {found.found:.4f}"
        measured = incumbent.get(objective)
        typer.echo(f"found  {objective} {measured:.4f} (trial {incumbent['number']}), {truly}")
    if best is None:
        typer.echo("no config of the space keeps the limits in this world")
        return
    typer.echo(f"best   {objective} {best.value:.4f} of {best.n_looked_at} configs looked at:")
    for name, value in best.config.items():
        typer.echo(f"         {name} = {wording.plain(value)}")
    if found.found is not None:
        typer.echo(f"the winner is {100 * abs(found.found / best.value - 1):.1f} % from the best")
    for share in (0.05, 0.01):
        n = found.n_trials_within(share)
        when = "never" if n is None else f"after {n} trials"
        typer.echo(f"within {share:.0%} of the best: {when}")
