"""Convolutions as narrow as thinning leaves them train rightly in the layout that training uses."""

import subprocess
import sys

PROGRAM = """
import torch
from torch import nn
from stillhouse_compression.train import in_format, to_format

torch.set_num_threads(1)
for n_in in range(1, 10):
    for stride, kernel in ((1, 1), (2, 1), (2, 3)):
        torch.manual_seed(0)
        layer = nn.Conv2d(n_in, 32, kernel, stride=stride, padding=kernel // 2, bias=False)
        exact = nn.Conv2d(n_in, 32, kernel, stride=stride, padding=kernel // 2, bias=False)
        layer, exact = in_format(layer), exact.double()
        exact.weight.data.copy_(layer.weight.data)
        for _ in range(3):
            x = to_format(torch.randn(32, n_in, 10, 10)).requires_grad_()
            twin = x.detach().double().requires_grad_()
            layer.zero_grad()
            exact.zero_grad()
            layer(x).square().sum().backward()
            exact(twin).square().sum().backward()
            for mine, theirs in ((x.grad, twin.grad), (layer.weight.grad, exact.weight.grad)):
                worst = (mine.double() - theirs).abs().max() / theirs.abs().max()
                assert worst < 1e-4, (n_in, stride, kernel, worst)
print("all right")
"""


def test_narrow_strided_convolutions_have_right_gradients_and_corrupt_no_memory() -> None:
    """In a process of its own: where torch writes beyond its memory, the process dies."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "all right\n"), ended.stderr[-500:]
