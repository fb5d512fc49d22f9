"""A network that does not become a graph is refused before it is trained."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.errors import ExportError
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.models.installed import installed_networks
from stillhouse_compression.training import Recipe

MODULE = """
import torch
from torch import nn
from stillhouse_compression.models import ModelInfo


class Spectral(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, n_classes)

    def forward(self, x):
        return self.fc(torch.fft.fft2(x).abs().flatten(1))  # opset 13 knows no such operation


spectral = ModelInfo("spectral", "Looks at frequencies", (3, 32, 32), 10, Spectral)
"""


@pytest.fixture
def spectral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "spectral_networks.py").write_text(MODULE)
    info = tmp_path / "spectral-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spectral\nVersion: 1.0\n")
    entry = "[stillhouse.models]\nspectral = spectral_networks:spectral\n"
    (info / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    installed_networks.cache_clear()
    yield "spectral"
    installed_networks.cache_clear()


def test_a_network_that_does_not_trace_costs_no_training(spectral: str) -> None:
    asked: list[bool] = []

    def is_cancelled() -> bool:
        asked.append(True)
        return False

    hooks = Hooks(is_cancelled=is_cancelled)
    with pytest.raises(ExportError, match="opset 13 has, and without branches"):
        train_baseline(spectral, "digits", Recipe(), 0, hooks)
    assert asked == []  # every minibatch asks
