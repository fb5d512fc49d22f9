"""Thinning: zeroed filters and input channels cut out of the graph."""

from stillhouse_compression.thinning.graph import channel_units, coupled_groups
from stillhouse_compression.thinning.report import CutLayer, StayedMasked, ThinningReport
from stillhouse_compression.thinning.thin import thin

__all__ = [
    "CutLayer",
    "StayedMasked",
    "ThinningReport",
    "channel_units",
    "coupled_groups",
    "thin",
]
