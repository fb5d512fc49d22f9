"""A server that starts imports neither torch nor SMAC: it is ready before they are wanted."""

import subprocess
import sys

HEAVY = ("torch", "smac", "sklearn", "scipy", "distributed", "dask", "onnx", "plotly", "fsspec")


def _imported_by(statement: str) -> set[str]:
    look = f"{statement}; import sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=120
    )
    return set(told.stdout.split())


def test_the_server_and_its_command_line_import_nothing_heavy() -> None:
    assert _imported_by("import stillhouse_service.server, stillhouse_service.cli") == set()
