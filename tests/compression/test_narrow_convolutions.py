"""Convolutions as narrow as thinning leaves them train rightly in the layout that training uses."""

import subprocess
import sys

import torch
from torch import Tensor, nn

from stillhouse_compression.layout import fastest_layout, layout_kept, to_cpu

PROGRAM = """
import torch
from torch import nn
from stillhouse_compression.layout import fastest_layout, layout_kept

torch.set_num_threads(1)
for n_in in range(1, 10):
    for stride, kernel in ((1, 1), (2, 1), (3, 1), (2, 3)):
        torch.manual_seed(0)
        layer = nn.Conv2d(n_in, 32, kernel, stride=stride, padding=kernel // 2, bias=False)
        exact = nn.Conv2d(n_in, 32, kernel, stride=stride, padding=kernel // 2, bias=False)
        if n_in % 2:
            layer = layer.to(memory_format=torch.channels_last)
        exact = exact.double()
        exact.weight.data.copy_(layer.weight.data)
        layout = fastest_layout(layer, torch.zeros(1, n_in, 10, 10))
        assert layout == torch.channels_last
        for _ in range(3):
            x = torch.randn(32, n_in, 10, 10).contiguous(memory_format=layout).requires_grad_()
            twin = x.detach().double().requires_grad_()
            layer.zero_grad()
            exact.zero_grad()
            with layout_kept(layer):
                out = layer(x)
            out.square().sum().backward()
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


class Viewer(nn.Module):
    """Views its channels as one row, which channels last does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4 * 6 * 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.conv(x)
        logits: Tensor = self.fc(features.view(-1, 4 * 6 * 6))
        return logits


def test_a_network_that_views_its_channels_keeps_the_plain_layout() -> None:
    assert fastest_layout(Viewer(), torch.zeros(1, 3, 8, 8)) == torch.contiguous_format


def test_nothing_stays_on_a_network() -> None:
    layer = nn.Conv2d(4, 8, 1, stride=2)
    with layout_kept(layer):
        assert layer._forward_hooks and layer._forward_pre_hooks
    assert not layer._forward_hooks and not layer._forward_pre_hooks
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
    wide = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as above
    to_cpu(wide)
    assert wide.weight.is_contiguous()
