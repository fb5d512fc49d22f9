"""What an operator's installation has, lacks and risks, part by part: `stillhouse doctor`.

Depends on: readiness, the store, cluster. Needs no server; makes no database and no folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from stillhouse_service import cluster, readiness
from stillhouse_service.artifact_places import Place, place_of
from stillhouse_service.database import open_engine, reads, schema_of
from stillhouse_service.errors import ComputeUnavailable, ServiceError
from stillhouse_service.ids import utc_now
from stillhouse_service.readiness import Part
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store, UnitOfWork

_SOON = timedelta(days=7)


def diagnose(settings: Settings, is_quick: bool = False) -> Iterator[Part]:
    """Look at everything that a server with these settings would use.

    Args:
        settings: Of the server.
        is_quick: Leave out what takes long: starting or reaching compute.
    """
    place, found = _store(settings)
    with _opened(settings) as (engine, of_database):
        yield from of_database
        is_ours = engine is not None and all(part.state == "ok" for part in of_database)
        yield found
        if engine is not None and place is not None:
            yield readiness.room(place, engine, settings.min_free_bytes)
        yield _compute(settings, place, is_quick)
        if engine is not None and is_ours:
            with Store(engine).read() as view:
                yield _devices(view, settings)
                yield _tokens(view, settings)
            yield readiness.clock(engine, utc_now)


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Engine | None, list[Part]]]:
    """Open the database, unless that would make one; say how it and its schema are."""
    try:
        engine = open_engine(settings.database_url)
    except ServiceError as error:
        cure = "put STILLHOUSE_DATABASE_URL right"
        yield None, [Part("database", "failed", str(error), cure)]
        return
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file is not None and not Path(file).exists():
        where = Path(file).resolve()
        says = f"there is none at {where} yet"
        yield None, [Part("database", "degraded", says, "`stillhouse serve` makes it")]
        return
    try:
        found = readiness.database(engine)
        yield (
            (None, [_in_full(found)])
            if found.state == "failed"
            else (engine, [found, _schema(engine)])
        )
    finally:
        engine.dispose()


def _schema(engine: Engine) -> Part:
    try:
        schema = schema_of(engine.execution_options(**reads(engine)))
    except SQLAlchemyError as error:
        return Part("schema", "failed", f"it cannot be read: {error}", "see the database")
    if schema.is_current:
        return Part("schema", "ok", f"{schema.found}, this version's")
    if schema.is_empty:
        says = f"the database is empty; this version makes it {schema.wanted}"
        return Part("schema", "degraded", says, "`stillhouse serve` does it")
    if schema.is_older:
        says = f"{schema.found}; this version needs {schema.wanted}"
        return Part("schema", "failed", says, "make a copy, then `stillhouse db upgrade`")
    if schema.found is None:
        says = f"the database holds another program's tables: {', '.join(schema.foreign)}"
        return Part("schema", "failed", says, "name an empty database")
    says = f"{schema.found}, unknown here; this version needs {schema.wanted}"
    return Part("schema", "failed", says, "use the version that wrote it")


def _store(settings: Settings) -> tuple[Place | None, Part]:
    address = str(settings.artifact_dir)
    is_folder = "://" not in address
    if is_folder and not Path(address).exists():
        says = f"there is no folder {Path(address).resolve()} yet"
        return None, Part("artifacts", "degraded", says, "`stillhouse serve` makes it")
    try:
        place = place_of(address)
    except (ServiceError, OSError) as error:
        return None, Part("artifacts", "failed", str(error), "put STILLHOUSE_ARTIFACT_DIR right")
    return place, _in_full(readiness.artifacts(place))


def _compute(settings: Settings, place: Place | None, is_quick: bool) -> Part:
    found = readiness.compute(settings)
    if found.state != "ok" or settings.compute == "none" or is_quick:
        return _in_full(found)
    try:
        reached = cluster.Cluster(settings, lambda _event: None)
    except ComputeUnavailable as error:
        return Part("compute", "failed", str(error), "see the message; free memory, or the network")
    try:
        if place is not None:
            reached.prove_shared(place)
        return _workers(reached)
    except ComputeUnavailable as error:
        cure = "start workers with `stillhouse compute-worker`, on the same artifact store"
        return Part("compute", "failed", str(error), cure)
    finally:
        reached.close()


def _workers(reached: cluster.Cluster) -> Part:
    ours, theirs, workers = cluster.versions(), reached.versions(), reached.workers()
    strangers = [
        f"{who} has {name} {found.get(name)}, here it is {wanted}"
        for who, found in theirs.items()
        for name, wanted in ours.items()
        if found.get(name) != wanted
    ]
    if strangers:
        cure = "install one version everywhere: results depend on it"
        return Part("compute", "degraded", "; ".join(strangers), cure)
    offered: dict[str, float] = {}
    for worker in workers:
        for name, amount in worker.resources.items():
            offered[name] = offered.get(name, 0.0) + amount
    with_them = "".join(f", {name}={amount:g}" for name, amount in sorted(offered.items()))
    n = len(workers)
    return Part("compute", "ok", f"{n} worker{'' if n == 1 else 's'}{with_them}, shares the store")


def _devices(view: UnitOfWork, settings: Settings) -> Part:
    devices = view.devices.all_with_hosts()
    if not devices:
        cure = "on the device's machine: `stillhouse-worker --server URL`"
        return Part("devices", "degraded", "none has ever been offered", cure)
    ttl = timedelta(seconds=settings.device_ttl_s)
    live = [f"{host.name} {d.name}" for d, host in devices if view.now - d.last_seen_at < ttl]
    silent = [
        f"{host.name} {d.name} (since {d.last_seen_at:%Y-%m-%d %H:%M} UTC)"
        for d, host in devices
        if view.now - d.last_seen_at >= ttl
    ]
    says = f"live: {', '.join(live) or 'none'}"
    if silent:
        says += f"; silent: {', '.join(silent)}"
    if live:
        return Part("devices", "ok", says)
    cure = "see the log of `stillhouse-worker` there, or `stillhouse-worker doctor`"
    return Part("devices", "degraded", says, cure)


def _tokens(view: UnitOfWork, settings: Settings) -> Part:
    live = [
        row
        for row in view.tokens.all()
        if row.revoked_at is None and (row.expires_at is None or row.expires_at > view.now)
    ]
    make = "`stillhouse token create NAME --scope admin`"
    if not live:
        if settings.is_local:
            says = "none: every program of this machine may do everything, nobody else anything"
            return Part("tokens", "ok", says)
        says = f"none, and {settings.host} can be reached from elsewhere: the server will not start"
        return Part("tokens", "failed", says, make)
    if not any("admin" in row.scopes for row in live):
        return Part("tokens", "degraded", f"{len(live)} live, none of scope admin", make)
    ending = [row for row in live if row.expires_at and row.expires_at - view.now < _SOON]
    if ending:
        which = ", ".join(f"{row.name} ({row.expires_at:%Y-%m-%d %H:%M} UTC)" for row in ending)
        return Part("tokens", "degraded", f"these run out soon: {which}", "make new ones")
    return Part("tokens", "ok", f"{len(live)} live")


def _in_full(part: Part) -> Part:
    """Tell the operator what is not for everybody."""
    if part.state == "ok" or not part.detail:
        return part
    return Part(part.name, part.state, f"{part.says} ({part.detail})", part.cure)


def shown(part: Part) -> dict[str, Any]:
    """Give a part as the JSON of `/readyz` has it."""
    return {"name": part.name, "state": part.state, "says": part.says, "cure": part.cure}
