"""What the server stands on, and whether it holds: database, files, compute, clock.

Depends on: sqlalchemy; database, artifacts, certificates. Each look changes nothing that stays;
`/readyz` and `stillhouse doctor` tell the same.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from stillhouse_service.artifact_places import Folder, Place
from stillhouse_service.certificates import proved_until
from stillhouse_service.database import reads
from stillhouse_service.errors import ComputeUnavailable
from stillhouse_service.settings import Settings
from stillhouse_service.tables import EventRow

State = Literal["ok", "degraded", "failed"]
_ORDER: tuple[State, ...] = ("ok", "degraded", "failed")
# Without these reading, asking and telling go on.
_SERVES_WITHOUT = ("artifacts", "room", "compute", "clock", "driver")
_LEAST_SKEW = timedelta(seconds=5)  # less is a clock that is steered, or a slow answer
_SOON = timedelta(days=14)
_LONG_STEP_S = 60.0  # of the driver: a proposal takes a second, a cluster ten to start
_CONNECT_S = 2.0
_PROOF = "proofs"  # as compute's; `stillhouse artifacts gc` removes what a kill left there


@dataclass(frozen=True)
class Part:
    """One thing that the server needs.

    Attributes:
        name: Which.
        state: `ok`; `degraded`: it works, but not as it should; `failed`.
        says: What was found; fit for everybody: no addresses, names or paths.
        cure: What to do about it; empty where nothing is to be done.
        detail: What only the operator is to read.
    """

    name: str
    state: State
    says: str
    cure: str = ""
    detail: str = ""


def overall(parts: list[Part]) -> State:
    """Say how the server is: `failed` only when it cannot answer what it is asked."""
    worst = max((_ORDER.index(part.state) for part in parts), default=0)
    is_down = any(part.state == "failed" and part.name not in _SERVES_WITHOUT for part in parts)
    return "failed" if is_down else _ORDER[min(worst, 1)]


def database(engine: Engine) -> Part:
    """Ask the database something."""
    begun_s = time.monotonic()
    try:
        with engine.execution_options(**reads(engine)).connect() as connection:
            connection.execute(select(1))
    except SQLAlchemyError as error:
        cure = "start it, or name another with STILLHOUSE_DATABASE_URL; the server goes on by "
        cure += "itself when it is back"
        return Part("database", "failed", "it does not answer", cure, _why(error))
    took_ms = (time.monotonic() - begun_s) * 1000
    kind = "SQLite" if engine.dialect.name == "sqlite" else "Postgres"
    return Part("database", "ok", f"{kind} answers in {took_ms:.0f} ms")


def schema(engine: Engine, wanted: str) -> Part:
    """Compare the schema's revision with this version's; somebody may migrate beneath a server."""
    try:
        with engine.execution_options(**reads(engine)).connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except SQLAlchemyError as error:
        return Part("schema", "failed", "it cannot be read", "see the database", _why(error))
    if found == wanted:
        return Part("schema", "ok", f"{found}, this version's")
    return Part(
        "schema",
        "failed",
        f"the database has schema {found}, this version needs {wanted}",
        "run the version of Stillhouse that fits, or make a copy and `stillhouse db upgrade`",
    )


def artifacts(place: Place) -> Part:
    """Write a file, read it back, compare its hash, remove it."""
    name, content = f"{_PROOF}/{uuid4().hex}", uuid4().bytes * 64
    try:
        place.write(name, content)
        found = place.read(name)
        place.remove(name)
    except Exception as error:  # OSErrors of a folder, whatever a driver of fsspec raises
        why = getattr(error, "strerror", None) or type(error).__name__
        return Part(
            "artifacts",
            "failed",
            f"the store cannot be written and read back: {why}",
            "make room, mount it again, or put its credentials right; until then no stage begins",
            f"{place.address}: {_first_line(error)}",
        )
    if hashlib.sha256(found).digest() != hashlib.sha256(content).digest():
        cure = "check the disk; `stillhouse artifacts check` says what else is damaged"
        return Part("artifacts", "failed", "the store gives back other bytes", cure, place.address)
    return Part("artifacts", "ok", "written, read back, hash compared", detail=place.address)


def room(place: Place, engine: Engine, min_free_bytes: int) -> Part:
    """Look how much is left on the disks of the artifact store and of SQLite's file."""
    folders = {"the artifact store": place.path} if isinstance(place, Folder) else {}
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        folders["the database"] = Path(str(engine.url.database)).resolve().parent
    if not folders:
        return Part("room", "ok", "kept elsewhere")
    left = {}
    for whose, folder in folders.items():
        try:
            left[whose] = shutil.disk_usage(folder).free
        except OSError as error:
            return Part(
                "room", "failed", f"the folder of {whose} is gone", "mount it again", str(error)
            )
    whose, least = min(left.items(), key=lambda item: item[1])
    if least < min_free_bytes:
        return Part(
            "room",
            "degraded",
            f"{whose} has {least / 1e6:.1f} MB left, at least {min_free_bytes / 1e6:.1f} MB are "
            "wanted: no stage is begun",
            "make room; `stillhouse artifacts gc` removes what nothing needs",
            str(folders[whose]),
        )
    return Part("room", "ok", f"{least / 1e9:.1f} GB left")


def driver(is_alive: bool, step: str, step_s: float) -> Part:
    """Tell whether the thread that moves studies on gets on.

    Args:
        is_alive: Whether it runs.
        step: What it does.
        step_s: For how long, seconds.
    """
    if not is_alive:
        says, cure = "it has ended: no study moves", "start the server again, and report its log"
        return Part("driver", "failed", says, cure)
    if step_s > _LONG_STEP_S:
        says = f"has been at one step for {step_s:.0f} s: studies wait"
        cure = "look into the server's log; `kill -USR1` has it tell where every thread is"
        return Part("driver", "degraded", says, cure, f"the step is {step}")
    return Part("driver", "ok", "moves studies on, or stands by for who does")


def compute(settings: Settings, problem: str | None = None) -> Part:
    """Look whether what trains and compresses can be reached; starts nothing.

    Args:
        settings: `compute` says which.
        problem: What the driver ran into last, if it did.
    """
    if settings.compute == "none":
        return Part("compute", "ok", "none: this server trains and compresses nothing")
    says = "embedded, starts with the first stage"
    if settings.compute != "embedded":
        try:
            says = _scheduler(settings)
        except ComputeUnavailable as error:
            cure = "start it, open the way to it, or renew the certificate; the server tries again"
            return Part("compute", "degraded", _public(error, settings), cure, str(error))
    if problem is not None:
        public = "nothing can be handed out: the last try failed; studies say why in `reason`"
        return Part("compute", "degraded", public, "see `stillhouse doctor`", problem)
    if settings.compute.startswith("tls://"):
        ends = certificate_end(settings)
        if ends - datetime.now(ends.tzinfo) < _SOON:
            says = f"the certificate of compute ends at {ends:%Y-%m-%d %H:%M} UTC"
            return Part("compute", "degraded", says, "renew it and start the server again")
    return Part("compute", "ok", says)


def clock(engine: Engine, now: Callable[[], datetime]) -> Part:
    """Compare the clock with the database's, and with the newest line of the log."""
    try:
        with engine.execution_options(**reads(engine)).connect() as connection:
            theirs = None
            if engine.dialect.name == "postgresql":
                # Not now(): that is when the transaction began.
                theirs = connection.execute(select(func.clock_timestamp())).scalar_one()
            ours = now()
            newest = connection.execute(
                select(EventRow.at).order_by(EventRow.id.desc()).limit(1)
            ).scalar()
    except SQLAlchemyError as error:
        return Part(
            "clock", "degraded", "nothing to compare it with", "see the database", str(error)
        )
    cure = "set it: run an NTP client on both machines"
    if theirs is not None and abs(ours - theirs) > _LEAST_SKEW:
        by = _said(ours - theirs)
        return Part("clock", "degraded", f"this machine's clock is {by} the database's", cure)
    if newest is not None and newest - ours > _LEAST_SKEW:
        ahead_s = (newest - ours).total_seconds()
        says = f"the newest line of the log was written {ahead_s:.0f} s from now"
        return Part("clock", "degraded", f"{says}: this clock is behind, or that one was", cure)
    return Part("clock", "ok", "agrees with the database")


def certificate_end(settings: Settings) -> datetime:
    """Say when this server's certificate for compute ends.

    Raises:
        ComputeUnavailable: It cannot be used at all.
    """
    return proved_until(settings.compute_ca, settings.compute_cert, settings.compute_key)


def _scheduler(settings: Settings) -> str:
    """Reach the scheduler's port.

    Raises:
        ComputeUnavailable: Nobody listens there, or our certificate is good for nothing.
    """
    if settings.compute.startswith("tls://"):
        certificate_end(settings)
    where = urlsplit(settings.compute)
    try:
        with socket.create_connection((where.hostname or "", where.port or 8786), _CONNECT_S):
            return "the scheduler listens"
    except (OSError, ValueError) as error:
        raise ComputeUnavailable(
            f"no Dask scheduler answers at {settings.compute}: {error}"
        ) from error


def _public(error: ComputeUnavailable, settings: Settings) -> str:
    """Leave out what only the operator is to read."""
    if "certificate" in str(error):
        return str(error).replace(settings.compute_cert, "of compute")
    return "no Dask scheduler answers"


def _said(skew: timedelta) -> str:
    seconds = abs(skew.total_seconds())
    return f"{seconds:.0f} s {'ahead of' if skew > timedelta(0) else 'behind'}"


def _why(error: SQLAlchemyError) -> str:
    return _first_line(getattr(error, "orig", None) or error)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
