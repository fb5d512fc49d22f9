"""Hosts that ask at about the same time: one transaction, a job each, everybody's own errors."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from stillhouse_service.errors import NotFound
from stillhouse_service.lease_desk import Asking, Given, LeaseDesk
from stillhouse_service.tables import DeviceRow

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def _ask(server: Any, asking: Sequence[Asking]) -> list[Given | BaseException]:
    async def all_at_once() -> list[Given | BaseException]:
        desk = LeaseDesk(server.store, server.settings)
        return await asyncio.gather(*map(desk.ask, asking), return_exceptions=True)

    return asyncio.run(all_at_once())


@on_both
def test_many_that_ask_at_once_get_a_job_each(server: Any, connect: Any) -> None:
    baseline = server.baseline()
    for _ in range(3):
        server.study(baseline=baseline)  # each waits for its baseline's check on a device
    hosts = [connect(server, f"edge-{i}") for i in range(5)]
    asking = [Asking(one.worker_id, one.device_id, is_new=True) for one in hosts]
    strange = Asking(hosts[0].worker_id, "dev_0000000000000000", is_new=True)
    given = _ask(server, [*asking[:2], strange, *asking[2:]])
    assert isinstance(given.pop(2), NotFound)
    found = [one.lease for one in given if isinstance(one, Given) and one.lease is not None]
    assert len(given) == 5
    assert len({lease.id for lease in found}) == len({lease.job.id for lease in found}) == 3
    with server.store.read() as view:
        assert len(view.stages.running_on("device")) == 3
    for host, one in zip(hosts, given, strict=True):
        assert isinstance(one, Given)
        if one.lease is not None:
            lease = {"id": one.lease.id, "token": one.lease.token}
            assert host.measure(lease).status_code == 204


def test_a_database_that_is_gone_is_told_to_each(server: Any, connect: Any) -> None:
    host = connect(server)
    asking = [Asking(host.worker_id, host.device_id, is_new=True)] * 3

    class Gone:
        def begin(self) -> Any:
            raise ConnectionError("gone")

    async def all_at_once() -> list[Given | BaseException]:
        desk = LeaseDesk(Gone(), server.settings)  # type: ignore[arg-type]  # stands for a Store
        return await asyncio.gather(*map(desk.ask, asking), return_exceptions=True)

    assert [type(one) for one in asyncio.run(all_at_once())] == [ConnectionError] * 3


@on_both
def test_a_job_behind_many_of_others_is_found_by_its_own_device(server: Any, connect: Any) -> None:
    baseline = server.baseline()
    others = [connect(server, f"edge-{i}") for i in range(2)]
    special = connect(server, "special", kind="GPU")
    for _ in range(4):
        server.study(baseline=baseline)
    server.study(baseline=baseline, device=special.device_id)
    hosts = [*others, special]
    asking = [Asking(one.worker_id, one.device_id, is_new=True) for one in hosts]
    given = LeaseDesk(server.store, server.settings)._hand_out(asking)
    jobs = [one.lease.job for one in given if isinstance(one, Given) and one.lease is not None]
    assert len({job.id for job in jobs}) == 3
    with server.store.read() as view:
        assert view.stages.stage(jobs[2].id).device == special.device_id


@on_both
def test_who_asks_twice_at_once_holds_one_job(server: Any, connect: Any) -> None:
    baseline = server.baseline()
    server.study(baseline=baseline)
    server.study(baseline=baseline)
    host = connect(server)
    twice = [Asking(host.worker_id, host.device_id, is_new=True)] * 2
    first, second = LeaseDesk(server.store, server.settings)._hand_out(twice)
    assert isinstance(first, Given) and first.lease is None
    assert isinstance(second, Given) and second.lease is not None
    with server.store.read() as view:
        assert len(view.stages.running_on("device")) == 1


@on_both
def test_that_there_is_nothing_is_told_while_somebody_else_writes(
    server: Any, connect: Any
) -> None:
    host = connect(server)
    asking = Asking(host.worker_id, host.device_id, is_new=True)
    desk = LeaseDesk(server.store, server.settings)
    with server.store.begin():  # a host that wants the lock for writing would wait for its end
        told = asyncio.run(asyncio.wait_for(desk.ask(asking), 10))
    assert told.lease is None
    assert "CPU" in told.serves


@on_both
@pytest.mark.parametrize("off", [-3, 3], ids=["long ago", "by a clock that was set back"])
def test_that_a_device_lives_is_written_down_before_long(
    server: Any, connect: Any, off: int
) -> None:
    host = connect(server)
    asking = Asking(host.worker_id, host.device_id, is_new=True)
    desk = LeaseDesk(server.store, server.settings)

    def last_seen() -> datetime:
        with server.store.read() as view:
            device: DeviceRow = view.devices.device(host.device_id)
            return device.last_seen_at

    with server.store.begin() as work:
        device = work.devices.device(host.device_id)
        begun = work.now
        device.last_seen_at = begun + off * timedelta(seconds=server.settings.heartbeat_s)
    (given,) = desk._hand_out([asking])
    assert isinstance(given, Given) and given.lease is None
    seen = last_seen()
    assert begun <= seen < begun + timedelta(seconds=server.settings.heartbeat_s)
    desk._hand_out([asking])
    assert last_seen() == seen


def test_a_host_that_asks_while_it_holds_a_job_has_given_it_up(server: Any, connect: Any) -> None:
    server.study(baseline=server.baseline())
    host = connect(server)
    asking = Asking(host.worker_id, host.device_id, is_new=True)
    desk = LeaseDesk(server.store, server.settings)
    (first,) = desk._hand_out([asking])
    assert isinstance(first, Given) and first.lease is not None
    desk._hand_out([asking])
    with server.store.read() as view:
        assert view.stages.attempt(first.lease.id).state == "lost"
