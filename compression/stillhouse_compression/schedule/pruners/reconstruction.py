"""Channel pruning that refits the weights that stay.

Depends on: torch, ranking, observation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.schedule.arguments import (
    FRACTION,
    ROUNDING,
    WEIGHTS,
    Arguments,
    Building,
    ClassSpec,
    choice,
    default,
    given,
    integer,
)
from stillhouse_compression.schedule.observation import can_be_sampled
from stillhouse_compression.schedule.pruners.law import Constant
from stillhouse_compression.schedule.pruners.step import MaskUpdate, PruningStep, Stateless, Wish
from stillhouse_compression.schedule.pruners.structures import NormRanker, structure_fits
from stillhouse_compression.schedule.ranking import Structure


class FMReconstructionChannelPruner(Stateless):
    """Prunes input channels by norm, then fits the others to give the same outputs.

    The fit is least squares over input patches that were sampled while training; a parameter
    with too few samples waits for more.

    Args:
        name: Instance name.
        weights: Parameter names: ungrouped convolutions or linear layers.
        desired_sparsity: Share of channels to prune, in [0, 1].
        ranker: Ranks the channels.

    Source: He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks",
    section 3.1, equation 2 (its second step).
    """

    is_random = True  # it samples points

    def __init__(
        self, name: str, weights: Sequence[str], desired_sparsity: float, ranker: NormRanker
    ) -> None:
        self.name = name
        self.weights = tuple(weights)
        self.target = Constant(desired_sparsity)
        self.ranker = ranker
        self.structure = Structure("Channels")
        self.wishes = tuple(Wish(name, "inputs") for name in weights)

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.weights]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks of the channels that stay, with their new weights."""
        fraction = self.target.level
        for name in self.owns(step.parameters):
            if fraction == 0:
                continue
            verdict = self.ranker.rank([name], fraction, self.structure, step)
            if verdict is None:
                continue
            weight = step.weight(name)
            inputs = step.activations.get(f"{name}/inputs")
            n_columns = weight.numel() // weight.shape[0]
            n_fitted = int(verdict.keep.sum()) * (n_columns // weight.shape[1])
            if inputs is None or inputs.shape[1] != n_columns or inputs.shape[0] < n_fitted:
                step.is_pending = True
                continue
            mask = self.structure.mask(verdict.keep, weight.shape)
            yield MaskUpdate(name, mask, weight=refit(weight, verdict.keep, inputs))


def refit(weight: Tensor, keep: Tensor, inputs: Tensor) -> Tensor:
    """The weights on the kept channels that reproduce the layer's outputs best.

    Args:
        weight: (out, channels, ...).
        keep: Boolean (channels,).
        inputs: (rows, channels * kernel): what the layer saw.

    Returns:
        ``weight`` with kept channels fitted by least squares; the others as they were.
    """
    if not bool(keep.any()):
        return weight
    channels = weight.shape[1]
    outputs = inputs @ weight.flatten(1).T  # (rows, out)
    seen = inputs.reshape(len(inputs), channels, -1)[:, keep].flatten(1)
    # CUDA has no solver for rank-deficient systems, which zero channels make.
    solution = torch.linalg.lstsq(seen.cpu().double(), outputs.cpu().double(), driver="gelsd")
    fitted = solution.solution.T.to(weight)
    new = weight.clone()
    new[:, keep] = fitted.reshape(weight.shape[0], -1, *weight.shape[2:])
    return new


def _build(name: str, arguments: Arguments, building: Building) -> FMReconstructionChannelPruner:
    if building.model is None:
        raise CompressionError("looks at the layers that it refits: give model=")
    modules = dict(building.model.named_modules())
    for parameter in arguments["weights"]:
        if not can_be_sampled(modules.get(parameter.removesuffix(".weight"))):
            raise CompressionError(
                f"{parameter} cannot be refitted: only linear layers and ungrouped 2-D "
                "convolutions with numeric padding can"
            )
    ranker = NormRanker(
        1, arguments["ranking_noise"], arguments["group_size"], ROUNDING[arguments["rounding_fn"]]
    )
    return FMReconstructionChannelPruner(
        name, arguments["weights"], arguments["desired_sparsity"], ranker
    )


CLASSES = (
    ClassSpec(
        "FMReconstructionChannelPruner",
        "pruners",
        (
            given("group_type", choice("Channels")),
            given("desired_sparsity", FRACTION),
            WEIGHTS,
            default("group_size", integer(1), 1),
            default("rounding_fn", choice(*ROUNDING), "floor"),
            default("ranking_noise", FRACTION, 0.0),
        ),
        _build,
        fits=structure_fits,
    ),
)
