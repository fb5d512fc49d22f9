"""What a server tells Prometheus: the database's state, as every replica sees it, and its own.

Depends on: prometheus_client, the store. What the database knows is read when it is asked for, so
that nothing is lost at a restart and every replica tells the same; docs/operations.md lists it all.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from stillhouse_service.instruments import PROPOSAL_S, REQUEST_S
from stillhouse_service.repositories.figures import Ended, Running
from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import DeviceRow, WorkerRow

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0)
_N_COUNTED = 1_000  # studies, in one statement
_N_NOISE = 500  # last measurements, of all devices
_N_NOISE_EACH = 20
_FRESH_S = 1.0  # two scrapers, or a thousand, cost one look
_DEVICE = ("device", "name", "kind", "host")


class Metrics:
    """A server's metrics; a registry of its own, as a process may hold several servers."""

    def __init__(
        self, store: Store, settings: Settings, slots: Callable[[], tuple[int, int]]
    ) -> None:
        """Tell of a server.

        Args:
            store: Its database.
            settings: How it runs.
            slots: Counts the stages that compute can run at once, and the workers it sees.
        """
        self._registry = CollectorRegistry()
        self._registry.register(_OfDatabase(store, settings))
        self._registry.register(_OfProcess(slots))
        self._registry.register(PROPOSAL_S)
        self._registry.register(REQUEST_S)
        ProcessCollector(registry=self._registry)
        self._lock = threading.Lock()
        self._last: tuple[float, bytes] = (float("-inf"), b"")

    def text(self) -> bytes:
        """Write everything in Prometheus' text format."""
        with self._lock:
            if time.monotonic() - self._last[0] >= _FRESH_S:
                self._last = time.monotonic(), generate_latest(self._registry)
            return self._last[1]


class _OfProcess(Collector):
    """What this process is and sees."""

    def __init__(self, slots: Callable[[], tuple[int, int]]) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        """Tell it."""
        info = GaugeMetricFamily("stillhouse_info", "Always 1; its version", labels=("version",))
        info.add_metric((version("stillhouse"),), 1)
        yield info
        n_slots, n_workers = self._slots()
        yield GaugeMetricFamily(
            "stillhouse_compute_slots", "Stages that compute can run at once", value=n_slots
        )
        yield GaugeMetricFamily(
            "stillhouse_compute_workers",
            "Compute workers that this process sees alive; 0 before the first stage",
            value=n_workers,
        )

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: registering must not ask."""
        return []


class _OfDatabase(Collector):
    """What the database knows."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._ended: dict[tuple[str, str, str, str], _Total] = defaultdict(_Total)
        self._upto: int | None = None  # the last event that is counted in `_ended`
        # study -> its revision when its trials were counted, and how many there were of each kind
        self._counted: dict[str, tuple[int, Counter[tuple[TrialState, str]]]] = {}

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read it, in one view."""
        with self._store.read() as view:
            self._count_ended(view)
            running = view.figures.running()
            devices = view.devices.all_with_hosts()
            yield self._studies(view)
            yield self._trials(view)
            yield from self._queues(view, running)
            yield self._durations()
            yield from self._devices(view, devices, running)
            yield self._noise(view, devices)

    def _count_ended(self, view: UnitOfWork) -> None:
        """Look at every attempt once, then only at what has ended since."""
        last = view.figures.last_event()
        if self._upto is None:
            for one in view.figures.ended(BOUNDS_S):
                self._ended[one.lane, one.kind, one.outcome.value, one.holder].add(one)
        else:
            for lane, kind, outcome, holder, begun, ended in view.figures.ended_since(self._upto):
                took_s = max(0.0, (ended - begun).total_seconds())
                self._ended[lane, kind, outcome.value, holder].observe(took_s)
        self._upto = last

    def _studies(self, view: UnitOfWork) -> Metric:
        told = GaugeMetricFamily("stillhouse_studies", "Studies by state", labels=("state",))
        counts = dict(view.figures.studies())
        for state in StudyState:
            told.add_metric((state.value,), counts.get(state, 0))
        return told

    def _trials(self, view: UnitOfWork) -> Metric:
        labels = ("state", "failure_class")
        told = GaugeMetricFamily(
            "stillhouse_trials", "Trials by state and class of failure", labels=labels
        )
        self._count_trials(view)
        counts = Counter({(state, ""): 0 for state in TrialState})
        for _, of_study in self._counted.values():
            counts.update(of_study)
        for (state, cause), n in sorted(counts.items()):
            told.add_metric((state.value, cause), n)
        return told

    def _count_trials(self, view: UnitOfWork) -> None:
        """Count the trials of every study once, then only of those that have changed since."""
        revisions = view.figures.revisions()
        changed = [
            study_id
            for study_id, revision in revisions.items()
            if study_id not in self._counted or self._counted[study_id][0] != revision
        ]
        for first in range(0, len(changed), _N_COUNTED):
            chunk = changed[first : first + _N_COUNTED]
            found: dict[str, Counter[tuple[TrialState, str]]] = {name: Counter() for name in chunk}
            for study_id, state, cause, n in view.figures.trials(chunk):
                found[study_id][state, cause] = n
            self._counted |= {name: (revisions[name], found[name]) for name in chunk}

    def _queues(self, view: UnitOfWork, running: list[Running]) -> Iterator[Metric]:
        n_waiting = GaugeMetricFamily(
            "stillhouse_stages_waiting", "Stages that may be handed out", labels=("lane",)
        )
        age = GaugeMetricFamily(
            "stillhouse_queue_age_seconds",
            "How long the stage that waits longest has waited; 0 where none does",
            labels=("lane",),
        )
        waiting = {one.lane: one for one in view.figures.waiting(view.now)}
        for lane in ("compute", "device", "outside"):
            one = waiting.get(lane)
            n_waiting.add_metric((lane,), one.n if one else 0)
            age.add_metric((lane,), _since_s(view.now, one.since) if one else 0.0)
        yield n_waiting
        yield age
        held = GaugeMetricFamily(
            "stillhouse_stages_running", "Stages handed out by now", labels=("lane", "kind")
        )
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for attempt in running:
            counts[attempt.lane, attempt.kind] += 1
        for labels, n in sorted(counts.items()):
            held.add_metric(labels, n)
        yield held

    def _durations(self) -> Metric:
        """From hand-out to end; on the lane `device` that is the lease."""
        told = HistogramMetricFamily(
            "stillhouse_stage_seconds",
            "Time from handing a stage out to its end, whatever that was",
            labels=("lane", "kind", "outcome"),
        )
        totals: dict[tuple[str, str, str], _Total] = defaultdict(_Total)
        for (lane, kind, outcome, _), total in self._ended.items():
            totals[lane, kind, outcome].join(total)
        for labels, total in sorted(totals.items()):
            told.add_metric(labels, total.buckets(), total.total_s)
        return told

    def _devices(
        self,
        view: UnitOfWork,
        devices: list[tuple[DeviceRow, WorkerRow]],
        running: list[Running],
    ) -> Iterator[Metric]:
        live = GaugeMetricFamily(
            "stillhouse_device_live", "1: heard of within DEVICE_TTL_S", labels=_DEVICE
        )
        silent = GaugeMetricFamily(
            "stillhouse_device_silence_seconds", "Since it was last heard of", labels=_DEVICE
        )
        busy = CounterMetricFamily(
            "stillhouse_device_busy_seconds",
            "Time it has held leases; its rate is the device's utilisation",
            labels=_DEVICE,
        )
        busy_s: dict[str, float] = defaultdict(float)
        for (lane, _, _, holder), total in self._ended.items():
            if lane == "device":
                busy_s[holder] += total.total_s
        for attempt in running:
            if attempt.lane == "device":
                busy_s[attempt.holder] += _since_s(view.now, attempt.started_at)
        ttl = timedelta(seconds=self._settings.device_ttl_s)
        for device, host in devices:
            labels = _labels(device, host)
            silence = view.now - device.last_seen_at
            live.add_metric(labels, int(silence < ttl))
            silent.add_metric(labels, max(0.0, silence.total_seconds()))
            busy.add_metric(labels, busy_s[device.id])
        yield from (live, silent, busy)
        hosts = {host.id for _, host in devices}
        up = {host.id for device, host in devices if view.now - device.last_seen_at < ttl}
        told = GaugeMetricFamily("stillhouse_device_hosts", "Device hosts", labels=("state",))
        told.add_metric(("live",), len(up))
        told.add_metric(("silent",), len(hosts - up))
        yield told

    def _noise(self, view: UnitOfWork, devices: list[tuple[DeviceRow, WorkerRow]]) -> Metric:
        told = GaugeMetricFamily(
            "stillhouse_device_noise_floor_ratio",
            "The most that a network differed from itself in the device's last jobs, of 1",
            labels=_DEVICE,
        )
        found: dict[str, list[float]] = defaultdict(list)
        for device_id, ratio in view.figures.noise(_N_NOISE):
            if len(found[device_id]) < _N_NOISE_EACH:
                found[device_id].append(abs(ratio - 1.0))
        for device, host in devices:
            if found[device.id]:
                told.add_metric(_labels(device, host), max(found[device.id]))
        return told


class _Total:
    """Durations counted by `BOUNDS_S`."""

    def __init__(self) -> None:
        self.n, self.total_s = 0, 0.0
        self._n_below = [0] * len(BOUNDS_S)

    def add(self, one: Ended) -> None:
        """Add what the database has added up."""
        self.n += one.n
        self.total_s += one.total_s
        self._n_below = [a + b for a, b in zip(self._n_below, one.n_below, strict=True)]

    def observe(self, took_s: float) -> None:
        """Add one duration."""
        self.n += 1
        self.total_s += took_s
        for i, bound in enumerate(BOUNDS_S):
            self._n_below[i] += took_s <= bound

    def join(self, other: _Total) -> None:
        """Add another's."""
        self.n += other.n
        self.total_s += other.total_s
        self._n_below = [a + b for a, b in zip(self._n_below, other._n_below, strict=True)]

    def buckets(self) -> list[tuple[str, float]]:
        """Give them as Prometheus wants them: cumulative, the last without bound."""
        named = [(f"{bound:g}", float(n)) for bound, n in zip(BOUNDS_S, self._n_below, strict=True)]
        return [*named, ("+Inf", float(self.n))]


def _labels(device: DeviceRow, host: WorkerRow) -> tuple[str, str, str, str]:
    return device.id, device.name, device.kind, host.name


def _since_s(now: datetime, then: datetime) -> float:
    return max(0.0, (now - then).total_seconds())
