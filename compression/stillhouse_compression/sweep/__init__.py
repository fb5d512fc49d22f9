"""Schedules of the research plan: one algorithm at a time, and the best of them together."""

from stillhouse_compression.sweep.algorithms import ALGORITHMS, Algorithm
from stillhouse_compression.sweep.cases import Case, Entry, sweep_cases
from stillhouse_compression.sweep.composition import Conflict, Member, compose

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Case",
    "Conflict",
    "Entry",
    "Member",
    "compose",
    "sweep_cases",
]
