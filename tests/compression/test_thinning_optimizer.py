"""An optimizer goes on after thinning as if the network had always been small."""

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from stillhouse_compression.thinning import thin

SHAPE = (3, 6, 6)


class Small(nn.Module):
    """Two convolutions with BatchNorm, flattened into a linear layer over a 3x3 map."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(width * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.pool(self.bn(self.one(x)).relu()).flatten(1))
        return out


KEPT = [0, 2, 3, 5]
COLUMNS = [column for channel in KEPT for column in range(channel * 9, channel * 9 + 9)]

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.01),
}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, *SHAPE, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (8,), generator=generator)
    optimizer.zero_grad()
    torch.autograd.backward(nn.functional.cross_entropy(model(x), y))
    optimizer.step()


def kill(model: Small) -> None:
    with torch.no_grad():
        for parameter in (model.one.weight, model.bn.weight, model.bn.bias):
            parameter[[1, 4]] = 0.0


def train_and_thin(make: Make) -> tuple[Small, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Small().double()
    optimizer = make(model.parameters())
    for seed in range(3):
        step(model, optimizer, seed)
    kill(model)
    thin(model, SHAPE, optimizer)
    return model, optimizer


def by_hand(make: Make) -> tuple[Small, torch.optim.Optimizer]:
    """The same, but cut by hand: a small network with the chosen slices of weights and state."""
    torch.manual_seed(0)
    large = Small().double()
    before = make(large.parameters())
    for seed in range(3):
        step(large, before, seed)
    kill(large)
    small = Small(len(KEPT)).double()
    after = make(small.parameters())
    with torch.no_grad():
        for (name, to), (_, source) in zip(
            small.state_dict().items(), large.state_dict().items(), strict=True
        ):
            to.copy_(_slice(name, source))
    for (name, old), new in zip(large.named_parameters(), small.parameters(), strict=True):
        after.state[new] = {
            key: _slice(name, value).clone()
            if isinstance(value, Tensor) and value.shape == old.shape
            else copy.deepcopy(value)
            for key, value in before.state[old].items()
        }
    return small, after


def _slice(name: str, tensor: Tensor) -> Tensor:
    if name == "fc.weight":
        return tensor[:, COLUMNS]
    return tensor if name.startswith("fc") or tensor.dim() == 0 else tensor[KEPT]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_in_a_network_cut_by_hand(name: str) -> None:
    model, optimizer = train_and_thin(OPTIMIZERS[name])
    twin, twin_optimizer = by_hand(OPTIMIZERS[name])
    for seed in range(3, 6):
        step(model, optimizer, seed)
        step(twin, twin_optimizer, seed)
    for (path, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert mine.shape == theirs.shape
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12), path


def test_the_new_parameters_are_the_ones_that_train() -> None:
    model, optimizer = train_and_thin(OPTIMIZERS["SGD"])
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in optimizer.state} <= held
    before = model.one.weight.detach().clone()
    step(model, optimizer, 9)
    assert not torch.equal(model.one.weight, before)


def test_parameter_groups_keep_their_settings() -> None:
    model = Small().double()
    optimizer = torch.optim.SGD(
        [
            {"params": [model.one.weight], "lr": 0.3},
            {"params": [model.bn.weight, model.bn.bias, *model.fc.parameters()], "lr": 0.1},
        ],
        momentum=0.9,
    )
    step(model, optimizer, 0)
    kill(model)
    thin(model, SHAPE, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.1]
    assert optimizer.param_groups[0]["params"][0] is model.one.weight
    step(model, optimizer, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adafactor(p, lr=0.01),
        lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2),
    ],
    ids=["Adafactor", "LBFGS"],
)
def test_factored_and_global_state_goes_on_too(make: Make) -> None:
    torch.manual_seed(0)
    model = Small().double()
    optimizer = make(model.parameters())

    def closure() -> float:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(8, *SHAPE, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), torch.arange(8) % 4)
        torch.autograd.backward(loss)
        return float(loss.detach())

    for _ in range(3):
        optimizer.step(closure)
    kill(model)
    thin(model, SHAPE, optimizer)
    before = closure()
    for _ in range(5):
        optimizer.step(closure)
    assert closure() < before
