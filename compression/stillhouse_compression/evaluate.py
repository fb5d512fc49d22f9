"""How well a network does on a split.

Depends on: torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layout import fastest_layout, layout_kept
from stillhouse_compression.modes import evaluating
from stillhouse_compression.train import Images


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over one split.

    Attributes:
        top1: Share of images whose highest logit is right, 0..1.
        top5: Share whose label is among the five highest (or all, with fewer classes).
        loss: Mean cross entropy, without smoothing.
        n_images: Size of the split.
    """

    top1: float
    top5: float
    loss: float
    n_images: int


@torch.no_grad()
def evaluate(model: nn.Module, images: Images, hooks: Hooks, batch_size: int = 250) -> Evaluation:
    """Run a network over a split in float32, in evaluation mode.

    Args:
        model: Where the images are; its mode is put back.
        images: The split.
        hooks: Asked before every batch.
        batch_size: Images at once.

    Raises:
        Cancelled: Somebody asked for the end.
    """
    top1 = top5 = 0
    loss = 0.0
    layout = fastest_layout(model, images.example())
    with evaluating(model), layout_kept(model):
        for x, y in images.batches(batch_size):
            with hooks.minibatch():
                logits = model(x.contiguous(memory_format=layout)).float()
                best = logits.topk(min(5, logits.shape[1]), dim=1).indices  # (batch, 5)
                is_right = best == y[:, None]
                top1 += int(is_right[:, 0].sum())
                top5 += int(is_right.sum())
                loss += float(cross_entropy(logits, y, reduction="sum"))
    n = len(images)
    return Evaluation(top1=top1 / n, top5=top5 / n, loss=loss / n, n_images=n)
