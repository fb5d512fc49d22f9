"""What is loaded for good: out of the garbage collector's sight, and whole before it is used."""

import gc
import os
import subprocess
import sys
from pathlib import Path

from stillhouse_service.loading import load


def test_what_is_loaded_is_out_of_the_collectors_sight() -> None:
    gc.unfreeze()
    load.cache_clear()
    load("colorsys")
    assert "colorsys" in sys.modules
    assert gc.get_freeze_count() > 10_000  # this process has pytest and the service in it
    assert len(gc.get_objects()) < gc.get_freeze_count()


_SLOW_TORCH = "import time; time.sleep(3); Tensor = type('Tensor', (), {})"
_BOTH_AT_ONCE = """
import sys, threading
import stillhouse_service.loading as loading
loading.load_in_order()
loading.load_in_order()
threading.Thread(target=lambda: __import__("torch")).start()
while "torch" not in sys.modules:
    pass
print(hasattr(sys.modules["torch"], "Tensor"))
import scipy.stats
print(scipy.stats.norm.cdf(0.0), hasattr(sys.modules["torch"], "Tensor"))
print(sum(type(finder).__name__ == "_InOrder" for finder in sys.meta_path))
"""


def test_scipy_is_loaded_while_another_thread_loads_torch(tmp_path: Path) -> None:
    # As when a baseline is asked for while the driver starts: it died of scipy's AttributeError.
    (tmp_path / "torch.py").write_text(_SLOW_TORCH)
    told = subprocess.run(
        [sys.executable, "-c", _BOTH_AT_ONCE],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.stdout.split() == ["False", "0.5", "True", "1"], told.stderr
