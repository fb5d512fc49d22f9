"""`stillhouse demo`: the main job, end to end.

Depends on: typer, rich; the demo.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_FOLDER = Path("demo")
_EXAMPLE = Path("examples/digits")
_INTERRUPTED = 130  # as a shell reports SIGINT


def demo(
    trials: Annotated[int | None, typer.Option(help="Instead of the example's budget.")] = None,
    folder: Annotated[Path, typer.Option(help="Where everything is kept.")] = _FOLDER,
    example: Annotated[Path, typer.Option(help="Folder of the study.yaml to run.")] = _EXAMPLE,
) -> None:
    """Run the main job on this machine: server, device host, study, report. Ctrl-C is safe."""
    from stillhouse_service.demo import run_demo  # POSIX only; the other commands run anywhere

    console = Console(highlight=False, markup=False)
    try:
        run_demo(console, folder, example, trials)
    except KeyboardInterrupt as error:
        console.print("\nStopped; finished trials are kept. Run it again to go on.")
        raise typer.Exit(_INTERRUPTED) from error
