"""The command line: `stillhouse`.

Depends on: typer, rich. Every command but `serve`, `template` and `demo` talks to a server URL.
"""

from __future__ import annotations

import sys

from stillhouse import ConnectionFailed, ProblemError, StillhouseError
from stillhouse_service.cli.app import app
from stillhouse_service.errors import ServiceError, SpecRejected

EXIT_FAILED = 1  # what was asked for did not come to its end
EXIT_REFUSED = 2  # the input cannot work; as for a misused command line
EXIT_UNREACHABLE = 3  # no server


def main() -> None:
    """Run the command line; every expected failure is words on stderr and an exit status."""
    try:
        app()
    except (ProblemError, SpecRejected) as error:
        _say(str(error) if not error.problems else f"{len(error.problems)} to mend:")
        for problem in error.problems:
            _say(f"  {problem.path}: {problem.message}")
        sys.exit(EXIT_REFUSED)
    except ConnectionFailed as error:
        _say(f"{error}\nStart a server with `stillhouse serve`, or name one with --server.")
        sys.exit(EXIT_UNREACHABLE)
    except (StillhouseError, ServiceError, OSError) as error:
        _say(str(error))
        sys.exit(EXIT_FAILED)


def _say(text: str) -> None:
    print(f"stillhouse: {text}" if not text.startswith("  ") else text, file=sys.stderr)
