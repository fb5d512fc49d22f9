"""The interval of a latency ratio: trimmed mean of paired blocks, bootstrap, looks paid for.

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
    Logs = npt.NDArray[np.float64]  # (n_blocks,), one log ratio each

CANDIDATE, BASELINE, AGAIN = "candidate", "baseline", "baseline again"
N_RESAMPLES = 500
TRIMMED = 0.2  # share of the blocks left out at either end
ERROR_RATE = 0.05


@dataclass(frozen=True)
class RatioEstimate:
    """A ratio of median latencies.

    Attributes:
        ratio: Trimmed geometric mean over all blocks of (candidate's median / baseline's median).
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

    Blocks of the same place in a compilation's order were timed within some 20 ms, so that what
    slows the host for longer slows all three; the few triples that it hits in part are trimmed
    away. On two cores at a load of 3 to 4.6 this left 0.9 % of standard deviation between jobs
    where the mean of the compilations' medians left 1.8 % (ResNet-20, 23 jobs of 10 s).

    The standard error comes from resampling compilations and, within them, blocks (blocks,
    because neighbouring inferences are alike). The interval is that error times a quantile of
    Student's t, since few compilations make a plain percentile interval too narrow.

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
    (standard error, two-level resampling); the trimmed mean of a fifth at either end is Tukey and
    McLaughlin 1963, Sankhya A 25; the error spending is Bonferroni's inequality.
    """
    logs = [_log_ratios(r[CANDIDATE], r[BASELINE], r[AGAIN]) for r in rounds]
    aa_logs = np.concatenate([_log_medians(r[BASELINE]) - _log_medians(r[AGAIN]) for r in rounds])
    if not is_recompiled:
        logs = list(np.concatenate(logs)[:, None])
    n = len(logs)
    if n < 2:
        raise ValueError(f"an interval needs at least two samples, got {n}")
    centres = _trimmed_means(_drawn_anew(logs, np.random.RandomState(seed)))
    # The plain bootstrap divides by n where an unbiased variance divides by n - 1.
    error = float(centres.std()) * math.sqrt(n / (n - 1))
    reach = student_t_quantile(1.0 - ERROR_RATE / 2**n_looks / 2.0, n - 1) * error
    centre = float(_trimmed_means(np.concatenate(logs)[None])[0])
    aa_centre = float(_trimmed_means(aa_logs[None])[0])
    return RatioEstimate(
        ratio=math.exp(centre),
        low=math.exp(centre - min(reach, 50.0)),
        high=math.exp(centre + min(reach, 50.0)),
        aa_ratio=math.exp(aa_centre),
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


def _log_medians(blocks: Blocks) -> Logs:
    """The log of each block's median, shape (n_blocks,)."""
    logs: Logs = np.log(np.median(blocks, axis=1))
    return logs


def _log_ratios(candidate: Blocks, baseline: Blocks, again: Blocks) -> Logs:
    """Each block of the candidate against both of the baseline beside it, shape (n_blocks,)."""
    both = (_log_medians(baseline) + _log_medians(again)) / 2.0
    return _log_medians(candidate) - both


def _drawn_anew(logs: Sequence[Logs], rng: np.random.RandomState) -> Blocks:
    """Compilations drawn with replacement and blocks within each, a row for each resample.

    Every compilation gives as many blocks as the shortest has.
    """
    n_blocks = [len(unit) for unit in logs]
    padded = np.full((len(logs), max(n_blocks)), np.nan)
    for row, unit in zip(padded, logs):
        row[: len(unit)] = unit
    picks = rng.randint(len(logs), size=(N_RESAMPLES, len(logs), 1))
    draws = rng.random_sample((N_RESAMPLES, len(logs), min(n_blocks)))
    blocks = (draws * np.array(n_blocks)[picks]).astype(np.int64)
    drawn: Blocks = padded[picks, blocks].reshape(N_RESAMPLES, -1)
    return drawn


def _trimmed_means(rows: Blocks) -> Logs:
    """Each row's mean without its lowest and its highest fifth."""
    ordered = np.sort(rows, axis=1)
    cut = int(TRIMMED * ordered.shape[1])
    means: Logs = ordered[:, cut : ordered.shape[1] - cut].mean(axis=1)
    return means
