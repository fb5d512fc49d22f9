"""`stillhouse bench`: measure this checkout; the figures land in `benches/results`.

Depends on: typer. The benches are part of the source tree, not of the installed package.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from stillhouse_compression.errors import nearest
from stillhouse_service.errors import Problem, SpecRejected

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
_FOLDER = Path(__file__).parents[3] / "benches"


def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one, e.g. optimiser.")],
) -> None:
    """Run a bench; what follows the name goes to it.

    `stillhouse bench optimiser --seeds 3` compares the optimiser with Optuna and random search and
    goes on where an earlier run stopped.
    """
    known = sorted(
        path.stem
        for path in _FOLDER.glob("*.py")
        if "def main(" in path.read_text(encoding="utf-8") and path.stem not in ("run", "tables")
    )
    if not known:
        text = "the benches are not in the installed package: run it in a checkout of the source"
        raise SpecRejected([Problem("bench", text)])
    if name not in known:
        text = f"no bench {name!r}{nearest(name, known)}; there are {', '.join(known)}"
        raise SpecRejected([Problem("bench", text)])
    path = os.pathsep.join([str(_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(_FOLDER / f"{name}.py"), *context.args]
    raise typer.Exit(subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode)
