"""What a network of this server is made of.

Depends on: stillhouse_compression.
"""

from __future__ import annotations

from functools import lru_cache

from stillhouse_compression.errors import CompressionError
from stillhouse_service.errors import NotFound
from stillhouse_service.schemas.networks import Network


@lru_cache(maxsize=64)
def describe_network(name: str, n_classes: int | None = None) -> Network:
    """Build a network and measure it; asking again is free.

    Raises:
        NotFound: There is no such network, or it cannot be built here; the message says why.
    """
    from stillhouse_compression.models.description import describe  # on use: it loads torch

    try:
        return Network(**describe(name, n_classes).to_json())
    except CompressionError as error:
        raise NotFound(str(error)) from error
