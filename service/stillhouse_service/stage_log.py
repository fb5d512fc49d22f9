"""What a compute stage says while it runs: its progress and what was logged, as lines.

Depends on: the standard library.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

_LOGGERS = ("stillhouse_compression", "stillhouse_service", "py.warnings")
_N_LINES = 2000
_N_CHARACTERS = 500  # of one line
N_TAIL = 20  # lines that travel with progress and failures


class StageLog(logging.Handler):
    """Gathers the lines of one stage, as a context manager; those of other threads are not its.

    Each begins with the seconds since the stage began.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[str] = deque(maxlen=_N_LINES)
        self._thread = threading.get_ident()
        self._begun = time.monotonic()
        self._levels: dict[str, int] = {}

    def __enter__(self) -> StageLog:
        logging.captureWarnings(True)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            if not logger.isEnabledFor(logging.INFO):
                logger.setLevel(logging.INFO)
            logger.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).removeHandler(self)
            logging.getLogger(name).setLevel(level)
        logging.captureWarnings(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of this stage's thread, a traceback's lines among it."""
        if record.thread == self._thread:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            for line in f"{level}{self.format(record)}".splitlines():
                self.say(line)

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Take a progress report, as words."""
        about = dict(progress)
        text = str(about.pop("stage", ""))
        if "epoch" in about:
            text += f", epoch {about.pop('epoch')}"
            text += f" of {about.pop('epochs')}" if "epochs" in about else ""
        figures = [f"{name} {_figure(value)}" for name, value in about.items()]
        self.say(": ".join(part for part in (text, ", ".join(figures)) if part))

    def say(self, line: str) -> None:
        """Take a line."""
        self._lines.append(f"{time.monotonic() - self._begun:8.1f} s  {line[:_N_CHARACTERS]}")

    def tail(self) -> list[str]:
        """Give the last lines."""
        return list(self._lines)[-N_TAIL:]

    def text(self) -> str:
        """Give all lines."""
        return "".join(f"{line}\n" for line in self._lines)


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
