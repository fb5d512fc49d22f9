"""Traces to an OTLP collector, where one is named: a trial is one trace, whoever works on it.

Depends on: opentelemetry (extra `otel`), imported only where a collector is named. Spans are made
from what was committed, so that none is lost with a process: ids follow from those of the rows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stillhouse_service.errors import ExtraMissing
from stillhouse_service.transitions import Transition

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from stillhouse_service.tables import AttemptRow, StageRow

# As every OpenTelemetry program has them; its other variables hold as well.
VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_FLUSH_MS = 3000
_started: _Exporter | None = None


@contextmanager
def sent(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Send traces meanwhile, if a collector is named.

    Raises:
        ExtraMissing: One is, and the packages are not here.
    """
    global _started
    named = [name for name in VARIABLES if environment.get(name)]
    if not named:
        yield
        return
    try:
        exporter = _started = _Exporter()
    except ImportError as error:
        raise ExtraMissing(
            f"{named[0]} asks for traces, which need more packages ({error}): "
            "pip install 'stillhouse[otel]', or unset it"
        ) from error
    try:
        yield
    finally:
        _started = None
        exporter.close()


def is_on() -> bool:
    """Whether traces are sent."""
    return _started is not None


def of_requests() -> dict[str, Any]:
    """Give FastAPI's arguments: its own spans of requests, where traces are sent."""
    if _started is None:
        return {}
    chosen = {
        "tracer_provider": _started.provider,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "exclude": lambda scope: scope["path"] in _QUIET,
    }
    return {"telemetry": chosen}


def tell(transitions: Sequence[Transition]) -> None:
    """Make spans of what has ended, and link the request to what it began."""
    if _started is not None:
        for one in transitions:
            _started.tell(one)


def traceparent_of(stage: StageRow, attempt: AttemptRow) -> str | None:
    """Name an attempt's span as the W3C header does; none where no traces are sent."""
    trace = stage.trial_id or stage.baseline_id or stage.study_id
    if _started is None or trace is None:
        return None
    return f"00-{_number(trace, 16):032x}-{_number(attempt.id, 8):016x}-01"


class _Exporter:
    """Sends spans that have ended."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
        name = os.environ.get("OTEL_SERVICE_NAME") or "stillhouse"
        self._resource = Resource.create({"service.name": name})
        self.provider = TracerProvider(resource=self._resource)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self.provider.add_span_processor(self._processor)

    def close(self) -> None:
        self.provider.force_flush(_FLUSH_MS)
        self.provider.shutdown()

    def tell(self, one: Transition) -> None:
        trace = one.ids.get("trial") or one.ids.get("baseline") or one.ids.get("study")
        if trace is None or one.row is None:
            return
        row = one.row
        if row.ended_at is None:
            if row.subject == one.ids.get("trial"):
                self._link_request(trace)
                if row.took_s is not None:
                    begun = row.begun_at - timedelta(seconds=row.took_s)
                    self._send("propose", trace, f"propose {trace}", trace, begun, row.begun_at)
            return
        parent = None if row.subject == trace else trace
        attributes = {f"stillhouse.{name}": value for name, value in one.ids.items()}
        attributes["stillhouse.outcome"] = row.state
        self._send(
            row.name, trace, row.subject, parent, row.begun_at, row.ended_at, attributes, row.error
        )
        if parent is not None and row.took_s is not None:
            begun = max(row.begun_at, row.ended_at - timedelta(seconds=row.took_s))
            name = f"device {row.subject}"
            self._send("device job", trace, name, row.subject, begun, row.ended_at, attributes)

    def _link_request(self, trace: str) -> None:
        from opentelemetry.trace import get_current_span

        get_current_span().add_link(_context(trace, trace))

    def _send(
        self,
        name: str,
        trace: str,
        span: str,
        parent: str | None,
        begun: datetime,
        ended: datetime,
        attributes: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status, StatusCode

        self._processor.on_end(
            ReadableSpan(
                name,
                context=_context(trace, span),
                parent=None if parent is None else _context(trace, parent),
                resource=self._resource,
                attributes=dict(attributes or {}),
                status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR, error),
                start_time=_nanoseconds(begun),
                end_time=max(_nanoseconds(begun), _nanoseconds(ended)),
            )
        )


def _context(trace: str, span: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(_number(trace, 16), _number(span, 8), False, TraceFlags(TraceFlags.SAMPLED))


def _number(name: str, n_bytes: int) -> int:
    """Derive an id from a row's, the same in every process; never 0, which is none."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:n_bytes], "big") or 1


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1e9)
