"""The interval of a latency ratio: bootstrap over compilations and blocks, looks paid for.

Depends on: numpy. Pure: no clock, no device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Blocks = npt.NDArray[np.float64]  # (n_blocks, runs per block), milliseconds

CANDIDATE, BASELINE, AGAIN = "candidate", "baseline", "baseline again"
N_RESAMPLES = 500
ERROR_RATE = 0.05


@dataclass(frozen=True)
class RatioEstimate:
    """A ratio of median latencies.

    Attributes:
        ratio: Geometric mean over the compilations of (candidate's median / baseline's median).
        low: Lower end of the 95 % interval.
        high: Upper end.
        aa_ratio: The same mean for the baseline's two compilations: 1 on a quiet host.
    """

    ratio: float
    low: float
    high: float
    aa_ratio: float

    @property
    def half_width(self) -> float:
        """How far the interval reaches from the ratio, as a fraction of it."""
        return max(self.high / self.ratio - 1.0, 1.0 - self.low / self.ratio)


def estimate_ratio(
    rounds: Sequence[Mapping[str, Blocks]], n_looks: int, is_recompiled: bool, seed: int = 0
) -> RatioEstimate:
    """Estimate candidate / baseline and how well it is known.

    Each compilation gives one paired log ratio; the standard error of their mean comes from
    resampling compilations and, within them, blocks (blocks, because neighbouring inferences are
    alike). The interval is that error times a quantile of Student's t, since few compilations
    make a plain percentile interval too narrow.

    A job stops at the first look whose interval is narrow enough; look ``j`` (from 1) is given
    the error rate ``0.05 / 2**j``. Their sum stays below 0.05, whichever look ends the job.

    Args:
        rounds: One mapping per compilation: network -> times of shape (n_blocks, n_runs), ms;
            the keys are ``CANDIDATE``, ``BASELINE`` and ``AGAIN``.
        n_looks: Which look this is, from 1.
        is_recompiled: Whether every round is a compilation of its own. If not, compilations do
            not differ on this device and the blocks are what varies.
        seed: Of the resampling.

    Raises:
        ValueError: fewer than two rounds (or blocks, where rounds are not recompiled).

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", sections 6.2 and 8.4
    (standard error, two-level resampling); the error spending is Bonferroni's inequality.
    """
    units = (
        list(rounds)
        if is_recompiled
        else [_row(r, i) for r in rounds for i in range(len(r[CANDIDATE]))]
    )
    if len(units) < 2:
        raise ValueError(f"an interval needs at least two samples, got {len(units)}")
    logs = np.array([_log_ratio(u[CANDIDATE], u[BASELINE], u[AGAIN]) for u in units])
    aa_logs = np.array([_log_medians(u[BASELINE]) - _log_medians(u[AGAIN]) for u in units])
    n = len(units)
    rng = np.random.RandomState(seed)
    resampled = np.stack([_resample(u, rng) for u in units])  # (n, N_RESAMPLES)
    picks = rng.randint(n, size=(n, N_RESAMPLES))
    means = np.take_along_axis(resampled, picks, axis=0).mean(axis=0)
    # The plain bootstrap divides by n where an unbiased variance divides by n - 1.
    error = float(means.std()) * math.sqrt(n / (n - 1))
    reach = student_t_quantile(1.0 - ERROR_RATE / 2**n_looks / 2.0, n - 1) * error
    centre = float(logs.mean())
    return RatioEstimate(
        ratio=math.exp(centre),
        low=math.exp(centre - min(reach, 50.0)),
        high=math.exp(centre + min(reach, 50.0)),
        aa_ratio=math.exp(float(aa_logs.mean())),
    )


def student_t_quantile(p: float, df: int) -> float:
    """The quantile of Student's t distribution.

    Args:
        p: Probability in [0.5, 1).
        df: Degrees of freedom, at least 1.

    Source: the distribution function for whole degrees of freedom is Abramowitz and Stegun 1964,
    equations 26.7.3 and 26.7.4, inverted by bisection.
    """
    if not 0.5 <= p < 1.0 or df < 1:
        raise ValueError(f"need 0.5 <= p < 1 and df >= 1, got p={p}, df={df}")
    low, high = 0.0, 1.0
    while _student_t_cdf(high, df) < p:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _student_t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2.0


def _student_t_cdf(t: float, df: int) -> float:
    """P(T <= t) for t >= 0."""
    theta = math.atan(t / math.sqrt(df))
    cos2 = math.cos(theta) ** 2
    if df % 2:
        term, total = math.cos(theta), 0.0
        for k in range(1, (df - 1) // 2 + 1):
            total += term
            term *= cos2 * 2 * k / (2 * k + 1)
        both = 2.0 / math.pi * (theta + math.sin(theta) * total)
    else:
        term, total = 1.0, 0.0
        for k in range(1, df // 2 + 1):
            total += term
            term *= cos2 * (2 * k - 1) / (2 * k)
        both = math.sin(theta) * total
    return 0.5 + both / 2.0


def _row(round_: Mapping[str, Blocks], index: int) -> Mapping[str, Blocks]:
    return {name: blocks[index : index + 1] for name, blocks in round_.items()}


def _log_medians(blocks: Blocks) -> float:
    return math.log(float(np.median(blocks)))


def _log_ratio(candidate: Blocks, baseline: Blocks, again: Blocks) -> float:
    both = (_log_medians(baseline) + _log_medians(again)) / 2.0
    return _log_medians(candidate) - both


def _resample(unit: Mapping[str, Blocks], rng: np.random.RandomState) -> Blocks:
    """Log ratios of one compilation with its blocks drawn anew, shape (N_RESAMPLES,)."""
    logs = {}
    for name in (CANDIDATE, BASELINE, AGAIN):
        blocks = unit[name]
        picks = rng.randint(len(blocks), size=(N_RESAMPLES, len(blocks)))
        drawn = blocks[picks].reshape(N_RESAMPLES, -1)
        logs[name] = np.log(np.median(drawn, axis=1))
    result: Blocks = logs[CANDIDATE] - (logs[BASELINE] + logs[AGAIN]) / 2.0
    return result
