"""What all compression tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from stillhouse_compression.original import missing_distiller


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly that the contract with Intel's own engine was not held here."""
    missing = missing_distiller()
    if missing is not None:
        terminalreporter.section("NOT RUN: the contract with engine: distiller", yellow=True)
        terminalreporter.line(missing)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small networks run faster on one thread, and to the same bits on every machine."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
