"""Log lines for people or for programs, with the ids of what is worked on; secrets are left out.

Depends on: the standard library. Used by the device host, the server and compute alike.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import re
import signal
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import IO, Iterator, Mapping

from stillhouse_benchmark.errors import BenchmarkError

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
_SECRETS = re.compile(
    r"shs_[A-Za-z0-9_\-]+"  # API tokens
    r"|(?<=://)(?P<user>[^/\s?:@]*:)[^/\s?]*(?=@)"  # the password in a URL
    r"|(?<=[Bb]earer )[^\s\"']+"
    r"|(?<=password=)[^\s&\"']+"
)
_HIDDEN = "***"
_EMPTY: Mapping[str, str] = {}
_about: ContextVar[Mapping[str, str]] = ContextVar("stillhouse_about", default=_EMPTY)


@contextmanager
def about(**ids: str | None) -> Iterator[None]:
    """Let every line of this thread, or task, name what it is about.

    Args:
        ids: By what they name (`study`, `trial`, `lease`, `request`, ...); None is left out.
    """
    known = dict(_about.get())
    known.update({name: one for name, one in ids.items() if one is not None})
    before = _about.set(known)
    try:
        yield
    finally:
        _about.reset(before)


def known() -> Mapping[str, str]:
    """What lines of this thread, or task, are about now."""
    return _about.get()


def tell_stacks_when_asked() -> None:
    """Have SIGUSR1 print where every thread of this process is, to its standard error.

    Of a process that hangs that is what its operator can still learn, even where the interpreter
    itself is stuck. Windows has no such signal.
    """
    if sys.platform != "win32" and sys.__stderr__ is not None:
        faulthandler.register(signal.SIGUSR1, sys.__stderr__, all_threads=True)


def configure(kind: str, level: str = "info", stream: IO[str] | None = None) -> None:
    """Log everything of this process to stderr, or to `stream`.

    Args:
        kind: Of `FORMATS`.
        level: The least that is logged, of `LEVELS`.
        stream: Where to.

    Raises:
        BenchmarkError: There is no such format or level.
    """
    for what, one, known_ones in (("format", kind, FORMATS), ("level", level, LEVELS)):
        if one not in known_ones:
            raise BenchmarkError(f"no log {what} {one!r}; wanted one of {', '.join(known_ones)}")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if kind == "json" else PlainLines())
    handler.setLevel(level.upper())  # a logger of its own level passes the root's by
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def trace_of(traceparent: object) -> str | None:
    """Read the trace's id off a W3C `traceparent`; None where there is none."""
    parts = traceparent.split("-") if isinstance(traceparent, str) else []
    return parts[1] if len(parts) == 4 else None


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and the ids it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_ids(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Before it is JSON: what is hidden must not take a quote or a backslash along.
        safe = {name: without_secrets(str(value)) for name, value in line.items()}
        return json.dumps(safe, ensure_ascii=False)


class PlainLines(logging.Formatter):
    """Time, level, what happened, and the ids it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        ids = "".join(f" {name}={one}" for name, one in _ids(record).items())
        line = f"{_time(record):%Y-%m-%d %H:%M:%S} {record.levelname} {record.getMessage()}"
        line += f"  [{ids.strip()}]" if ids else ""
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_secrets(line)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, timezone.utc)


def _ids(record: logging.LogRecord) -> dict[str, str]:
    """What the line's own call named, above what its thread is about."""
    return {**_about.get(), **getattr(record, "about", _EMPTY)}


def without_secrets(text: str) -> str:
    """Replace tokens and passwords; a URL's user stays."""
    return _SECRETS.sub(lambda found: (found["user"] or "") + _HIDDEN, text)
