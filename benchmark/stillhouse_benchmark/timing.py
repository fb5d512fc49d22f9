"""The timing protocol: warm-up, interleaved blocks, several compilations, an A/A pair as gate.

Depends on: numpy. Clocks, networks and locks come in as arguments, so all of it runs in a test.
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, ContextManager, Mapping, Sequence

import numpy as np

from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.interval import (
    AGAIN,
    BASELINE,
    CANDIDATE,
    RatioEstimate,
    estimate_ratio,
)
from stillhouse_benchmark.protocol import JobSettings, Timing

if TYPE_CHECKING:
    import numpy.typing as npt

    Times = npt.NDArray[np.float64]

Infer = Callable[[], object]
NAMES = (CANDIDATE, BASELINE, AGAIN)
MAX_ATTEMPTS = 3
WARM_UP_RUNS = 3
WARM_UP_S = 0.02
BLOCK_S = 0.006
MAX_BLOCK_RUNS = 50
MIN_BLOCKS, MAX_BLOCKS = 3, 6
MIN_ROUNDS = 3  # with two, Student's t makes an interval of anything
MAX_TRIES = 4
MAX_DRIFT = 0.10
BUSY_SHARE = 0.2


def _preemptions() -> int:
    """Involuntary context switches; always 0 on systems that do not count them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@dataclass(frozen=True)
class Clocks:
    """What time is read from, seconds.

    Attributes:
        wall: Monotonic wall time.
        cpu: CPU time of the whole process.
        sleep: Waits, seconds.
        interruptions: How often the system took the processor away from this process so far.
    """

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    sleep: Callable[[float], None] = time.sleep
    interruptions: Callable[[], int] = _preemptions


@dataclass(frozen=True)
class Round:
    """One compilation of each network, timed.

    Attributes:
        wall_ms: Network -> (n_blocks, n_runs) wall times.
        cpu_ms: Network -> (n_blocks, n_runs) CPU times of the process.
        interrupted_share: Share of all inferences that the system interrupted, 0..1.
    """

    wall_ms: Mapping[str, Times]
    cpu_ms: Mapping[str, Times]
    interrupted_share: float


@dataclass(frozen=True)
class Measurement:
    """What the timing of a job gave.

    Attributes:
        candidate: Its times, all rounds.
        baseline: Its times, both compilations of all rounds.
        estimate: Ratio, interval and A/A ratio.
        n_attempts: Attempts, the believed one included.
        flags: ``time-limit``, ``drift``, ``busy``.
        rounds: The raw times.
    """

    candidate: Timing
    baseline: Timing
    estimate: RatioEstimate
    n_attempts: int
    flags: tuple[str, ...]
    rounds: tuple[Round, ...]


def measure(
    compile_networks: Callable[[], Mapping[str, Infer]],
    settings: JobSettings,
    clocks: Clocks,
    quiet: Callable[[], ContextManager[None]] = contextlib.nullcontext,
    progress: Callable[[float], None] = lambda fraction: None,
    rng: random.Random | None = None,
    is_recompiled: bool = True,
) -> Measurement:
    """Time candidate and baseline until their ratio is known well enough.

    Args:
        compile_networks: Compiles ``CANDIDATE``, ``BASELINE`` and ``AGAIN`` afresh; called once a
            round, or once an attempt where ``is_recompiled`` is false.
        settings: Interval wanted, limits, compilations.
        clocks: Injected.
        quiet: Holds the machine quiet while a round is timed.
        progress: Told the fraction done, 0..1.
        rng: Orders the blocks.
        is_recompiled: False for devices whose compiler gives the same blob every time.

    Raises:
        JobFailed: class ``gate`` when the A/A pair differed by more than ``max_aa_deviation`` in
            three attempts.
    """
    rng = rng or random.Random(0)
    deviations = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        rounds, estimate, is_narrow = _attempt(
            compile_networks, settings, clocks, quiet, progress, rng, is_recompiled
        )
        if abs(estimate.aa_ratio - 1.0) <= settings.max_aa_deviation:
            told = {
                "time-limit": not is_narrow,
                "drift": _drifted(rounds),
                "busy": _is_busy(rounds),
            }
            return Measurement(
                candidate=_summarise(rounds, (CANDIDATE,)),
                baseline=_summarise(rounds, (BASELINE, AGAIN)),
                estimate=estimate,
                n_attempts=attempt,
                flags=tuple(flag for flag, is_raised in told.items() if is_raised),
                rounds=tuple(rounds),
            )
        deviations.append(estimate.aa_ratio)
        if attempt < MAX_ATTEMPTS:
            clocks.sleep(float(attempt))
    ratios = ", ".join(f"{ratio:.3f}" for ratio in deviations)
    raise JobFailed(
        "gate",
        "timing",
        f"the baseline timed against itself gave {ratios} where 1 +- "
        f"{settings.max_aa_deviation:g} was wanted: the host is too busy to be believed; "
        "stop what else runs on it, or measure again later",
    )


def summarise(wall_ms: Times, cpu_ms: Times) -> Timing:
    """Percentiles (nearest rank), mean and spread of single inferences, milliseconds."""
    ordered = np.sort(wall_ms, axis=None)
    mean = float(ordered.mean())
    return Timing(
        p25_ms=_nearest_rank(ordered, 25),
        p50_ms=_nearest_rank(ordered, 50),
        p90_ms=_nearest_rank(ordered, 90),
        p95_ms=_nearest_rank(ordered, 95),
        p99_ms=_nearest_rank(ordered, 99),
        mean_ms=mean,
        sd_ms=float(ordered.std(ddof=1)) if ordered.size > 1 else 0.0,
        cpu_p50_ms=_nearest_rank(np.sort(cpu_ms, axis=None), 50),
        n_runs=int(ordered.size),
        throughput_per_s=1000.0 / mean,
    )


def _attempt(
    compile_networks: Callable[[], Mapping[str, Infer]],
    settings: JobSettings,
    clocks: Clocks,
    quiet: Callable[[], ContextManager[None]],
    progress: Callable[[float], None],
    rng: random.Random,
    is_recompiled: bool,
) -> tuple[list[Round], RatioEstimate, bool]:
    """Rounds until the interval is narrow (True) or the time limit is over (False)."""
    rounds: list[Round] = []
    started_s = clocks.wall()
    n_looks = 1
    next_look = max(2, settings.n_compilations) if is_recompiled else 1
    networks: Mapping[str, Infer] = {}
    while True:
        if is_recompiled or not networks:
            networks = {}  # lets go of the last round's before new ones take memory
            networks = compile_networks()
        with quiet():
            rounds.append(_time_round(networks, settings, clocks, rng))
        spent_s = clocks.wall() - started_s
        progress(min(0.99, max(len(rounds) / next_look, spent_s / settings.time_limit_s)))
        is_over = spent_s >= settings.time_limit_s
        if len(rounds) < next_look and not (is_over and len(rounds) >= MIN_ROUNDS):
            continue
        wall = [r.wall_ms for r in rounds]
        estimate = estimate_ratio(wall, n_looks, is_recompiled)
        is_narrow = estimate.half_width <= settings.target_interval
        if is_narrow or is_over:
            return rounds, estimate, is_narrow
        n_looks += 1
        next_look *= 2


def _time_round(
    networks: Mapping[str, Infer], settings: JobSettings, clocks: Clocks, rng: random.Random
) -> Round:
    """Warm every network up, then time blocks of them in random order."""
    run_s = max(_warm_up(networks[name], clocks) for name in NAMES)
    n_runs = max(1, min(MAX_BLOCK_RUNS, math.ceil(BLOCK_S / max(run_s, 1e-7))))
    share_s = settings.time_limit_s / max(2, settings.n_compilations)
    n_blocks = int(share_s / (len(NAMES) * n_runs * max(run_s, 1e-7)))
    n_blocks = max(MIN_BLOCKS, min(MAX_BLOCKS, n_blocks))
    wall_ms = {name: np.empty((n_blocks, n_runs)) for name in NAMES}
    cpu_ms = {name: np.empty((n_blocks, n_runs)) for name in NAMES}
    n_interrupted = n_tries = 0
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        for block in range(n_blocks):
            for name in rng.sample(NAMES, len(NAMES)):
                clean, rest = _time_block(networks[name], n_runs, clocks)
                n_interrupted += len(rest)
                n_tries += len(clean) + len(rest)
                runs = (clean + rest)[:n_runs]
                wall_ms[name][block] = [run[0] * 1000.0 for run in runs]
                cpu_ms[name][block] = [run[1] * 1000.0 for run in runs]
    finally:
        if was_collecting:
            gc.enable()
    return Round(wall_ms, cpu_ms, n_interrupted / n_tries)


def _time_block(
    infer: Infer, n_runs: int, clocks: Clocks
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Wall and CPU seconds of inferences that ran through, and of those that did not.

    An inference during which another program got the processor says nothing of the network. It is
    made again, a few times; where the host is never quiet, the interrupted ones have to do.
    """
    infer()  # the others' blocks left the caches to their own weights
    clean: list[tuple[float, float]] = []
    interrupted: list[tuple[float, float]] = []
    while len(clean) < n_runs and len(clean) + len(interrupted) < MAX_TRIES * n_runs:
        before = clocks.interruptions()
        cpu_from, wall_from = clocks.cpu(), clocks.wall()
        infer()
        wall_to, cpu_to = clocks.wall(), clocks.cpu()
        ran_through = clocks.interruptions() == before
        (clean if ran_through else interrupted).append((wall_to - wall_from, cpu_to - cpu_from))
    return clean, interrupted


def _warm_up(infer: Infer, clocks: Clocks) -> float:
    """Run until warm; returns the shortest run, seconds."""
    started_s = clocks.wall()
    shortest_s = math.inf
    n_runs = 0
    while n_runs < WARM_UP_RUNS or clocks.wall() - started_s < WARM_UP_S:
        from_s = clocks.wall()
        infer()
        shortest_s = min(shortest_s, clocks.wall() - from_s)
        n_runs += 1
    return shortest_s


def _summarise(rounds: Sequence[Round], names: Sequence[str]) -> Timing:
    wall = [r.wall_ms[name].ravel() for r in rounds for name in names]
    cpu = [r.cpu_ms[name].ravel() for r in rounds for name in names]
    return summarise(np.concatenate(wall), np.concatenate(cpu))


def _drifted(rounds: Sequence[Round]) -> bool:
    """Whether the baseline's last quarter is more than 10 % off its first."""
    blocks = np.concatenate(
        [np.median(np.stack([r.wall_ms[BASELINE], r.wall_ms[AGAIN]]), axis=(0, 2)) for r in rounds]
    )
    quarter = max(1, len(blocks) // 4)
    first, last = np.median(blocks[:quarter]), np.median(blocks[-quarter:])
    return bool(abs(last / first - 1.0) > MAX_DRIFT)


def _is_busy(rounds: Sequence[Round]) -> bool:
    """Whether the system interrupted more than a fifth of the inferences."""
    return sum(r.interrupted_share for r in rounds) / len(rounds) > BUSY_SHARE


def _nearest_rank(ordered: Times, percent: int) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed."""
    return float(ordered[max(0, math.ceil(percent / 100.0 * ordered.size) - 1)])
