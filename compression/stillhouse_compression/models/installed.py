"""Networks that other installed packages bring: the entry points of group `stillhouse.models`.

Depends on: the standard library. Code comes from what is installed beside us, never over REST.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from stillhouse_compression.models.info import ModelInfo

GROUP = "stillhouse.models"


@dataclass(frozen=True)
class Installed:
    """What other packages bring.

    Attributes:
        networks: Usable ones by name.
        broken: Name -> why it cannot be used, and what to do.
    """

    networks: Mapping[str, ModelInfo]
    broken: Mapping[str, str]


@lru_cache(maxsize=1)
def installed_networks(taken: frozenset[str] = frozenset()) -> Installed:
    """Load every entry point once.

    A package that does not import takes its own network away and no other.

    Args:
        taken: Names that are ours.
    """
    networks: dict[str, ModelInfo] = {}
    broken: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        found = _load(point, {*taken, *networks})
        if isinstance(found, ModelInfo):
            networks[point.name] = found
        elif point.name not in taken and point.name not in networks:
            broken[point.name] = found
    return Installed(networks, broken)


def _load(point: EntryPoint, taken: Collection[str]) -> ModelInfo | str:
    """Give an entry point's network, or what is wrong with it."""
    package = "a package" if point.dist is None else f"package {point.dist.name!r}"
    whose = f"network {point.name!r} of {package} ({point.value})"
    if point.name in taken:
        return f"{whose}: there is one of this name already; give it another"
    try:
        found = point.load()
    except Exception as error:  # it is their code: whatever it raises is theirs to mend
        return f"{whose} cannot be loaded: {type(error).__name__}: {error}"
    if not isinstance(found, ModelInfo):
        return f"{whose} is a {type(found).__name__}; a ModelInfo was wanted"
    if found.name != point.name:
        return f"{whose} calls itself {found.name!r}; both names must be the same"
    return found
