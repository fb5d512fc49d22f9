"""`stillhouse doctor`: what the server needs, what is wrong with it, and its cure.

Depends on: typer; diagnosis, which is imported when it is asked for.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stillhouse_service.cli.options import AsJson, Config, print_json
from stillhouse_service.configuration import configured

_WORDS = {"ok": "ok", "degraded": "warn", "failed": "fail"}


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what takes long: starting compute.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look at database, files, compute, devices and tokens, without a server or beside one.

    Exit status 1 when something has failed; 0 with warnings.
    """
    from stillhouse_service.diagnosis import diagnose, shown

    found = configured(file=config)
    parts = []
    for part in diagnose(found.settings, is_quick=quick):
        parts.append(part)
        if not as_json:
            typer.echo(f"{_WORDS[part.state]:6}{part.name:12}{part.says}")
            if part.cure and part.state != "ok":
                typer.echo(f"{'':18}-> {part.cure}")
    states = {part.state for part in parts}
    status = next(one for one in ("failed", "degraded", "ok") if one in states)
    if as_json:
        print_json({"status": status, "parts": [shown(part) for part in parts]})
    if status == "failed":
        raise typer.Exit(1)
