"""What is loaded for good is not walked by the garbage collector again."""

import gc
import sys

from stillhouse_service.loading import load


def test_what_is_loaded_is_out_of_the_collectors_sight() -> None:
    gc.unfreeze()
    load.cache_clear()
    load("colorsys")
    assert "colorsys" in sys.modules
    assert gc.get_freeze_count() > 10_000  # this process has pytest and the service in it
    assert len(gc.get_objects()) < gc.get_freeze_count()
