"""Hands jobs to hosts that ask at about the same time, in one transaction.

Depends on: the store, leases. While one transaction is under way those who ask queue up for the
next: a host that asks alone waits for nobody, and of many the lock, the commit and its way to the
disk are shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.concurrency import run_in_threadpool

from stillhouse_benchmark.protocol import Lease
from stillhouse_service import leases
from stillhouse_service.errors import ServiceError
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState
from stillhouse_service.store import Store
from stillhouse_service.tables import DeviceRow

_MOST = 25  # in one transaction: others want to write as well


@dataclass(frozen=True)
class Asking:
    """A host that asks for a job.

    Attributes:
        worker_id: The host.
        device_id: Its device.
        is_new: Whether it has just come, so that what it held before it holds no more; else it was
            woken where it waits.
    """

    worker_id: str
    device_id: str
    is_new: bool


@dataclass(frozen=True)
class Given:
    """What a host is given.

    Attributes:
        lease: A job; none: none waits for it.
        serves: What a job's device may be called for the host to take it.
    """

    lease: Lease | None
    serves: tuple[str, ...]


class LeaseDesk:
    """Where hosts ask; of one event loop."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        # That a device lives need not be written down more often.
        self._known_for_s = min(2 * settings.heartbeat_s, settings.device_ttl_s / 6)
        self._queue: list[tuple[Asking, asyncio.Future[Given]]] = []
        self._at_work: asyncio.Task[None] | None = None

    async def ask(self, asking: Asking) -> Given:
        """Ask for a job.

        Raises:
            NotFound: No such host, or no such device of it: it must register again.
            ArtifactCorrupt: A file that its job names is not registered.
        """
        future: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._queue.append((asking, future))
        if self._at_work is None or self._at_work.done():
            self._at_work = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:_MOST], self._queue[_MOST:]
            # Who has hung up meanwhile would never learn of its lease.
            batch = [(asking, future) for asking, future in batch if not future.done()]
            if not batch:
                continue
            answers: Sequence[Given | Exception]
            try:
                answers = await run_in_threadpool(self._hand_out, [asking for asking, _ in batch])
            except Exception as error:
                # The transaction failed, and with it all of them; each answers for itself.
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue  # hung up: its lease runs out, as any that is lost on the way
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _hand_out(self, batch: Sequence[Asking]) -> list[Given | ServiceError]:
        if len(batch) == 1 and batch[0].is_new:
            nothing = self._nothing_for(batch[0])
            if nothing is not None:
                return [nothing]
        with self._store.begin() as work:
            ids = [one.device_id for one in batch]
            work.devices.read_ahead(ids)
            is_anybody_new = any(one.is_new for one in batch)
            holders = work.stages.holders(ids) if is_anybody_new else set()
            devices: list[DeviceRow | ServiceError] = []
            for one in batch:
                try:
                    if one.is_new and one.device_id in holders:
                        leases.ask(work, one.worker_id, one.device_id, self._settings)
                    known_for_s = 0.0 if one.is_new else self._known_for_s
                    devices.append(leases.seen(work, one.worker_id, one.device_id, known_for_s))
                except ServiceError as error:
                    devices.append(error)
            # Who asks twice at once has given the first one up.
            last = {one.device_id: i for i, one in enumerate(batch)}
            known = {
                i: device
                for i, device in enumerate(devices)
                if isinstance(device, DeviceRow) and last[device.id] == i
            }
            claimed = leases.claim_all(work, list(known.values()), self._settings)
            leased = dict(zip(known, claimed, strict=True))
            return [_given(device, leased.get(i)) for i, device in enumerate(devices)]

    def _nothing_for(self, one: Asking) -> Given | None:
        """Tell a host that there is nothing, where that can be told without the lock for writing.

        A host asks again right after its report; what follows from the report, the next proposal
        above all, wants the lock at that very moment.
        """
        with self._store.glance() as view:
            found = view.devices.with_last_state(one.device_id)
            if found is None or found[0].worker_id != one.worker_id:
                return None  # the transaction that writes says what is wrong
            device, last = found
            if abs(view.now - device.last_seen_at) >= timedelta(seconds=self._known_for_s):
                return None  # that it lives is to be written down; also when a clock was set back
            if last in (AttemptState.RUNNING, AttemptState.FAILED):
                return None  # it gives up what it held; or is trusted again after a failure
            names = leases.serves(device)
            if view.stages.next_for_device(names, view.now) is not None:
                return None
            return Given(None, names)


def _given(
    device: DeviceRow | ServiceError, lease: Lease | ServiceError | None
) -> Given | ServiceError:
    if isinstance(device, ServiceError):
        return device
    return lease if isinstance(lease, ServiceError) else Given(lease, leases.serves(device))
