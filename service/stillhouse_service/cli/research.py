"""`stillhouse experiment run`: the research plan from the first stage to the last.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stillhouse import Client, ConnectionFailed
from stillhouse_service.report import wording
from stillhouse_service.research import Research, run_research
from stillhouse_service.research_file import ResearchPlan, read_research_plan
from stillhouse_service.research_page import write_page

_INTERRUPTED = 130  # as a shell reports SIGINT


def run(
    file: Annotated[Path, typer.Argument(help="experiment.yaml: network, device, sweep, study.")],
    server: Annotated[
        str | None,
        typer.Option(
            "--server", help="A server with a device host; else both are started on this machine."
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="Where everything is kept; a finished run is left alone.")
    ] = Path("experiment"),
    page: Annotated[
        Path | None, typer.Option(help="Also write tables, plots, conclusions here, Markdown.")
    ] = None,
) -> None:
    """Verify, measure, sweep, combine, search, finalize. Ctrl-C is safe: run it again to go on."""
    plan = read_research_plan(file)
    console = Console(highlight=False, markup=False)
    _print_estimate(console, plan)
    try:
        if server is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with Client(server) as client:
                found = run_research(client, plan, console)
                _leave_behind(console, client, plan, found, folder, page)
        else:
            _run_here(console, plan, folder, page)
    except KeyboardInterrupt as error:
        console.print("\nStopped; finished trials are kept. Run it again to go on.")
        raise typer.Exit(_INTERRUPTED) from error


def _print_estimate(console: Console, plan: ResearchPlan) -> None:
    from stillhouse_service.research_estimate import estimate

    stages = estimate(plan)
    console.print(f"Research plan {plan.name}: {plan.baseline['model']} on {plan.device}")
    for one in stages:
        trials = f"{one.n_trials} trials, " if one.n_trials else ""
        console.print(f"  {one.stage:<9} {trials}about {wording.duration(one.seconds)}")
    total = wording.duration(sum(one.seconds for one in stages))
    console.print(f"About {total} in all on this machine, if it has nothing else to do.")


def _run_here(console: Console, plan: ResearchPlan, folder: Path, page: Path | None) -> None:
    """Start a server and a device host, run, and end them."""
    from stillhouse_service.demo import interrupted, start_device_host, start_server
    from stillhouse_service.demo_folder import held_folder
    from stillhouse_service.demo_processes import Child, end_all, free_port

    began = time.monotonic()
    children: list[Child] = []

    def check() -> None:
        for child in children:
            child.check()

    def on_wait() -> None:
        console.print("Waiting for an earlier run's processes to end ...")

    previous = signal.signal(signal.SIGTERM, interrupted)
    try:
        with held_folder(folder, on_wait) as held:
            try:
                with Client(f"http://127.0.0.1:{free_port()}") as client:
                    start_server(console, client, held, children)
                    start_device_host(console, client, held, children)
                    try:
                        found = run_research(client, plan, console, check)
                    except ConnectionFailed:
                        check()  # the reason is in the log of the one that died
                        raise
                    _leave_behind(console, client, plan, found, held.path, page)
            finally:
                end_all(children)
    finally:
        signal.signal(signal.SIGTERM, previous)
    console.print(f"Done in {wording.duration(time.monotonic() - began)}.")


def _leave_behind(
    console: Console,
    client: Client,
    plan: ResearchPlan,
    found: Research,
    folder: Path,
    page: Path | None,
) -> None:
    console.print()
    for path in write_page(client, plan, found, folder, page):
        console.print(f"  {path}", soft_wrap=True)
