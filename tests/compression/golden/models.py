"""The two small networks and the inputs behind the golden numbers.

Depends on: numpy, torch.
"""

import numpy as np
import torch
from torch import Tensor, nn


class TinyRes(nn.Module):
    """Three convolutions, the last in a residual add, and a linear layer; (batch, 3, 32, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=True)
        self.bn2 = nn.BatchNorm2d(16)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.relu3 = nn.ReLU()
        self.pool = nn.AvgPool2d(8)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        shortcut = self.relu2(self.bn2(self.conv2(x)))
        x = self.relu3(self.bn3(self.conv3(shortcut)) + shortcut)
        y: Tensor = self.fc(self.pool(x).flatten(1))
        return y


class TinyPlain(nn.Module):
    """No residual; a depthwise convolution and two linear layers; input (batch, 3, 32, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.mp = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(16, 12, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(12)
        self.relu4 = nn.ReLU()
        self.pool = nn.AvgPool2d(8)
        self.fc1 = nn.Linear(48, 20)
        self.relu5 = nn.ReLU()
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.mp(self.relu2(self.conv2(x)))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.relu4(self.bn4(self.conv4(x)))
        y: Tensor = self.fc2(self.relu5(self.fc1(self.pool(x).flatten(1))))
        return y


def batches(n: int, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    """The ``n`` minibatches that every golden epoch repeats, in order."""
    random = np.random.RandomState(1000)
    return [
        (
            torch.from_numpy(random.randn(size, 3, 32, 32).astype(np.float32)),
            torch.from_numpy(random.randint(0, 10, size).astype(np.int64)),
        )
        for _ in range(n)
    ]


def probe() -> Tensor:
    """The fixed input of ``final_out_eval``, ``out_before`` and ``out_after``: (4, 3, 32, 32)."""
    return torch.from_numpy(np.random.RandomState(77).randn(4, 3, 32, 32).astype(np.float32))
