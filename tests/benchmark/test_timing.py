"""The timing protocol with a clock that only moves when a network runs."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, Mapping

import numpy as np
import pytest

from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.interval import AGAIN, BASELINE, CANDIDATE
from stillhouse_benchmark.protocol import JobSettings
from stillhouse_benchmark.timing import Clocks, measure, summarise


class Machine:
    """Time passes when a network runs, and as it likes to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.cpu_s = 0.0
        self.n_interruptions = 0
        self.n_compilations = 0
        self.log: list[str] = []
        self.slept: list[float] = []
        self.is_quiet = False

    def clocks(self) -> Clocks:
        return Clocks(
            wall=lambda: self.now_s,
            cpu=lambda: self.cpu_s,
            sleep=self.slept.append,
            interruptions=lambda: self.n_interruptions,
        )

    def network(self, name: str, time_s: Callable[[], float]) -> Callable[[], None]:
        def infer() -> None:
            self.log.append(name)
            spent_s = time_s()
            self.now_s += spent_s
            self.cpu_s += spent_s / 2.0

        return infer

    def compile(
        self, times_s: Mapping[str, float]
    ) -> Callable[[], Mapping[str, Callable[[], None]]]:
        def compile_networks() -> Mapping[str, Callable[[], None]]:
            self.n_compilations += 1
            return {
                name: self.network(name, lambda time_s=time_s: time_s)  # type: ignore[misc]
                for name, time_s in times_s.items()
            }

        return compile_networks

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        self.is_quiet = True
        yield
        self.is_quiet = False


TIMES = {CANDIDATE: 0.0005, BASELINE: 0.001, AGAIN: 0.001}


def test_a_network_twice_as_fast_has_ratio_one_half() -> None:
    machine = Machine()
    found = measure(machine.compile(TIMES), JobSettings(), machine.clocks())
    assert found.estimate.ratio == pytest.approx(0.5)
    assert found.candidate.p50_ms == pytest.approx(0.5)
    assert found.baseline.p99_ms == pytest.approx(1.0)
    assert found.baseline.cpu_p50_ms == pytest.approx(0.5)
    assert found.baseline.throughput_per_s == pytest.approx(1000.0)
    assert found.n_attempts == 1 and found.flags == ()


def test_every_round_is_a_compilation_of_its_own() -> None:
    machine = Machine()
    measure(machine.compile(TIMES), JobSettings(n_compilations=7), machine.clocks())
    assert machine.n_compilations == 7


def test_a_device_whose_compiler_never_varies_compiles_once() -> None:
    machine = Machine()
    measure(machine.compile(TIMES), JobSettings(), machine.clocks(), is_recompiled=False)
    assert machine.n_compilations == 1


def test_warm_up_is_not_measured() -> None:
    machine = Machine()
    slow = iter([1.0] * 4)

    def compile_networks() -> Mapping[str, Callable[[], None]]:
        return {name: machine.network(name, lambda: next(slow, 0.002)) for name in TIMES}

    settings = JobSettings(time_limit_s=1000.0)
    found = measure(compile_networks, settings, machine.clocks())
    assert found.candidate.p99_ms == pytest.approx(2.0)
    assert found.baseline.p99_ms == pytest.approx(2.0)


def test_blocks_are_interleaved_in_changing_order() -> None:
    machine = Machine()
    measure(machine.compile(TIMES), JobSettings(), machine.clocks())
    changes = [b for a, b in zip(machine.log, machine.log[1:]) if a != b]
    following = {(a, b) for a, b in zip(changes, changes[1:])}
    assert {(CANDIDATE, BASELINE), (BASELINE, CANDIDATE), (CANDIDATE, AGAIN)} <= following


def test_timing_holds_the_machine_quiet_and_compiling_does_not() -> None:
    machine = Machine()
    compiled_quietly = []
    inner = machine.compile(TIMES)

    def compile_networks() -> Mapping[str, Callable[[], None]]:
        compiled_quietly.append(machine.is_quiet)
        return inner()

    measure(compile_networks, JobSettings(), machine.clocks(), quiet=machine.quiet)
    assert compiled_quietly == [False] * 5


def test_an_unequal_pair_fails_the_gate_after_three_attempts_and_tells_no_ratio() -> None:
    machine = Machine()
    unequal = {**TIMES, AGAIN: 0.0012}
    with pytest.raises(JobFailed, match=r"0\.833, 0\.833, 0\.833") as caught:
        measure(machine.compile(unequal), JobSettings(), machine.clocks())
    assert caught.value.failure_class == "gate"
    assert machine.slept == [1.0, 2.0]


def test_a_gate_that_fails_once_is_measured_again() -> None:
    machine = Machine()
    bad, good = machine.compile({**TIMES, AGAIN: 0.002}), machine.compile(TIMES)
    found = measure(
        lambda: bad() if machine.n_compilations < 5 else good(), JobSettings(), machine.clocks()
    )
    assert found.n_attempts == 2
    assert found.estimate.aa_ratio == pytest.approx(1.0)


def test_noise_ends_at_the_time_limit_and_is_flagged() -> None:
    machine = Machine()
    rng = np.random.RandomState(0)

    def compile_networks() -> Mapping[str, Callable[[], None]]:
        levels = {name: 0.001 * float(rng.lognormal(0.0, 0.3)) for name in TIMES}
        return {
            name: machine.network(name, lambda level=level: level)  # type: ignore[misc]
            for name, level in levels.items()
        }

    settings = JobSettings(time_limit_s=3.0, max_aa_deviation=10.0)
    found = measure(compile_networks, settings, machine.clocks())
    assert "time-limit" in found.flags
    assert 3.0 <= machine.now_s < 4.0


def test_a_slow_network_keeps_to_the_time_limit_in_order_of_magnitude() -> None:
    machine = Machine()
    slow = {CANDIDATE: 1.0, BASELINE: 2.0, AGAIN: 2.0}
    found = measure(machine.compile(slow), JobSettings(time_limit_s=60.0), machine.clocks())
    assert machine.now_s < 150.0
    assert found.estimate.ratio == pytest.approx(0.5)


def test_a_machine_that_slows_down_is_flagged_as_drifting() -> None:
    machine = Machine()
    settings = JobSettings(time_limit_s=1000.0, max_aa_deviation=10.0, target_interval=1.0)

    def compile_networks() -> Mapping[str, Callable[[], None]]:
        machine.n_compilations += 1
        slower = 1.0 + 0.1 * machine.n_compilations
        return {
            name: machine.network(name, lambda t=t: t * slower)  # type: ignore[misc]
            for name, t in TIMES.items()
        }

    assert measure(compile_networks, settings, machine.clocks()).flags == ("drift",)


def test_inferences_that_the_system_interrupts_are_made_again() -> None:
    machine = Machine()

    def interrupted_every_third() -> float:
        if len(machine.log) % 3:
            return 0.001
        machine.n_interruptions += 1
        return 0.050

    def compile_networks() -> Mapping[str, Callable[[], None]]:
        return {name: machine.network(name, interrupted_every_third) for name in TIMES}

    found = measure(compile_networks, JobSettings(), machine.clocks())
    assert found.baseline.p99_ms == pytest.approx(1.0)
    assert "busy" in found.flags


def test_percentiles_are_nearest_rank() -> None:
    # Of 1..10: a quarter of ten is 2.5, so the third value; 9.5 and 9.9 the tenth.
    timing = summarise(np.arange(10.0, 0.0, -1.0), np.full(10, 3.0))
    assert (timing.p25_ms, timing.p50_ms, timing.p90_ms) == (3.0, 5.0, 9.0)
    assert (timing.p95_ms, timing.p99_ms, timing.mean_ms) == (10.0, 10.0, 5.5)
    assert timing.sd_ms == pytest.approx(3.0277, abs=1e-4)
    assert timing.n_runs == 10 and timing.cpu_p50_ms == 3.0
