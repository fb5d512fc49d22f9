"""Run benches, each in a process of its own: ``run.py [NAME ...] [--OPTION ...]``.

Depends on: the standard library. A bench is a script in this folder with a ``main()``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_BENCHES = {"run", "record", "tables"}
# Benches that are run with another: what is asked of the search as a whole.
WITH = {"search": ("front", "transfer")}


def main(arguments: list[str]) -> int:
    """Run the named benches (all without names); the exit code is the number that failed.

    What follows the first option goes to each of them.
    """
    n_names = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    names, options = arguments[:n_names], arguments[n_names:]
    known = sorted(
        path.stem
        for path in FOLDER.glob("*.py")
        if path.stem not in NOT_BENCHES and not path.stem.startswith("_") and _is_bench(path)
    )
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no bench {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    n_failed = 0
    wanted = [one for name in names or known for one in (name, *WITH.get(name, ()))]
    for name in dict.fromkeys(wanted):
        print(f"== {name}", file=sys.stderr)
        command = [sys.executable, str(FOLDER / f"{name}.py"), *options]
        n_failed += subprocess.run(command).returncode != 0
    return n_failed


def _is_bench(path: Path) -> bool:
    return "def main(" in path.read_text()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
