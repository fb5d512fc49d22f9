"""Training goes on after a downsample has lost most of its input channels."""

import subprocess
import sys

# In a process of its own: what this guards against is a corrupted heap, which kills the process.
TRAIN = """
import numpy as np
import torch
from torch import nn
from stillhouse_compression.train import in_format, to_format

torch.set_num_threads(1)
model = in_format(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(),
                                nn.Conv2d(5, 10, 1, stride=2), nn.Flatten(), nn.Linear(2560, 10)))
for step in range(5):
    x = to_format(torch.randn(32, 3, 32, 32))
    loss = model(x).square().mean()
    loss.backward()
assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())
print("whole")
"""


def test_a_strided_pointwise_convolution_with_five_inputs_trains() -> None:
    answer = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-500:]
    assert answer.stdout.strip() == "whole"
