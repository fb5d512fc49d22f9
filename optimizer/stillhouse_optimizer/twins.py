"""Which configs come to the same: the same built network, trained in the same way.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse_optimizer.encoding import encode_all
from stillhouse_optimizer.inputs import CheapFeatures, Inputs
from stillhouse_optimizer.parameter import Config
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Problem
from stillhouse_optimizer.tried import keys


def twin_indices(
    problem: Problem,
    known: Sequence[Config],
    asked: Sequence[Config],
    cheap_features: CheapFeatures | None = None,
) -> list[int | None]:
    """For each asked config the first known one that comes to the same.

    Args:
        problem: Its parameters are the space of both.
        known: Configs that were tried; one that does not fit the space is nobody's twin.
        asked: Configs of the space.
        cheap_features: What network a config builds (see inputs); without it only equal configs
            are twins.

    Returns:
        Positions in `known`, None where there is no twin; one for each of `asked`.
    """
    space = Space(problem)
    inputs = Inputs(space, cheap_features)
    rows, fits = encode_all(space, [*known, *asked])
    # What does not fit is looked up like the default, and then left out.
    rows[~fits] = space.default()[0]
    names = keys(inputs.of(rows))
    first: dict[bytes, int] = {}
    for i in range(len(known)):
        if fits[i]:
            first.setdefault(names[i], i)
    found = zip(names[len(known) :], fits[len(known) :], strict=True)
    return [first.get(name) if is_fit else None for name, is_fit in found]
