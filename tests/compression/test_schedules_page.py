"""docs/schedules.md: every example trains, and resumes at every epoch to the same result."""

from __future__ import annotations

import copy
import io
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stillhouse_compression import CompressionScheduler, dict_config, load_yaml
from stillhouse_compression.schedule import registry

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
EXAMPLES = dict(re.findall(r"#### (\S+)\n(?:(?!####).)*?```yaml\n(.*?)```", PAGE, re.S))
EPOCHS = 4
THINS = ("FilterRemover", "ChannelRemover", "StructureRemover")

# The page's network and training loop.
NAMES: dict[str, Any] = {}
exec(PYTHON[0], NAMES)


def _batches() -> list[tuple[Tensor, Tensor]]:
    """Four classes that a few steps can tell apart: each a quadrant that is brighter."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(5):
        x = torch.randn(12, 3, 16, 16, generator=generator) * 0.5
        y = torch.randint(0, 4, (12,), generator=generator)
        for image, label in zip(x, y.tolist(), strict=True):
            image[label % 3, 8 * (label // 2) : 8 * (label // 2) + 8] += 2.0
        batches.append((x, y))
    return batches


def _seed() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def _start(example: str) -> tuple[Any, Any, CompressionScheduler]:
    model = NAMES["Example"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = load_yaml(EXAMPLES[example])
    return model, optimizer, dict_config(model, optimizer, schedule)


def _train(parts: tuple[Any, Any, CompressionScheduler], first: int, epochs: int) -> None:
    model, optimizer, scheduler = parts
    NAMES["train"](model, optimizer, None, _batches(), epochs, scheduler, first)


def _loss(model: nn.Module) -> float:
    model = copy.deepcopy(model).train()
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(model(x), y).item() for x, y in _batches()]
    return sum(losses) / len(losses)


def test_the_page_has_an_example_of_every_class() -> None:
    classes = {name for section in registry.PROVIDERS.values() for name in section}
    assert set(EXAMPLES) == classes | {"distillation"}


def test_the_page_names_every_class_among_the_evidence() -> None:
    evidence = PAGE[PAGE.index("## Evidence") :]
    for section, classes in registry.PROVIDERS.items():
        for name in classes:
            known = section == "lr_schedulers" or f"`{name.removesuffix('_AGP')}" in evidence
            assert known, name


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_trains_and_resumes_at_every_epoch_to_the_same_masks(example: str) -> None:
    _seed()
    whole = _start(example)
    model, _, scheduler = whole
    before = _loss(model)
    checkpoints = []
    for epoch in range(EPOCHS):
        checkpoints.append(_saved(whole))
        _train(whole, epoch, epoch + 1)
    assert _loss(model) < before * 0.9
    parameters = dict(model.named_parameters())
    for name, mask in scheduler.masks.items():
        if mask is not None:
            assert mask.shape == parameters[name].shape, name
            assert mask.dtype == torch.bool, name
            if not scheduler.zeros_mask_dict[name].mask_on_forward_only:
                assert not parameters[name].detach()[~mask].any(), name
    if example in THINS:
        assert model.conv3.out_channels < 16
    is_rate = example in registry.PROVIDERS["lr_schedulers"]
    for epoch in (2,) if is_rate else range(1, EPOCHS):  # a rate is a rate at any epoch
        resumed = _resumed(example, checkpoints[epoch], epoch)
        _train(resumed, epoch, EPOCHS)
        for name, mask in scheduler.masks.items():
            other = resumed[2].masks[name]
            assert (mask is None) == (other is None), (epoch, name)
            if mask is not None and other is not None:
                assert torch.equal(mask, other), (epoch, name)
        for name, value in model.state_dict().items():
            assert torch.equal(value, resumed[0].state_dict()[name]), (epoch, name)


def _saved(parts: tuple[Any, Any, CompressionScheduler]) -> bytes:
    checkpoint = io.BytesIO()
    torch.save([part.state_dict() for part in parts], checkpoint)
    return checkpoint.getvalue()


def _resumed(example: str, checkpoint: bytes, epoch: int) -> tuple[Any, Any, CompressionScheduler]:
    """A run that goes on from a checkpoint, after a thinning, too."""
    states = torch.load(io.BytesIO(checkpoint), weights_only=True)
    # Whatever was drawn in between does not matter: a method that draws brings its state.
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    model = NAMES["Example"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = load_yaml(EXAMPLES[example])
    scheduler = dict_config(model, optimizer, schedule, None, epoch - 1)
    scheduler.load_state_dict(states[2])
    model.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    return model, optimizer, scheduler


def test_the_functions_of_the_page_run() -> None:
    _seed()
    parts = _start("StepLR")
    _train(parts, 0, 2)
    ((x, y),) = _batches()[:1]

    def test(model: nn.Module) -> tuple[float, float, float]:
        model.eval()
        with torch.no_grad():
            out = model(x)
        return (
            (out.argmax(1) == y).float().mean().item(),
            1.0,
            nn.functional.cross_entropy(out, y).item(),
        )

    dense = {name: p.clone() for name, p in parts[0].named_parameters()}
    names = {"model": parts[0], "test": test}
    exec(PYTHON[1], names)
    table: Any = names["table"]
    assert "conv3.weight" in table.to_text()
    assert {row.name for row in table.rows} == {n for n in dense if "conv" in n or "fc" in n} - {
        "conv3.bias",
        "fc.bias",
    }
    analysis: Any = names["analysis"]
    assert len(analysis.rows) == 3 * 3  # three convolutions, three levels
    assert "<html>" in analysis.to_html()
    steps: Any = names["steps"]
    densities = [step.density for step in steps]
    assert densities == sorted(densities, reverse=True)
    assert densities[-1] <= 0.8
    pruned: Any = names["pruned"]
    assert pruned(x).shape == (12, 4)
    for name, parameter in parts[0].named_parameters():
        assert torch.equal(parameter, dense[name]), name
