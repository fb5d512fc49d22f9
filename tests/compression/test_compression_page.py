"""docs/compression.md tells the truth: its example runs, its tables are the program's."""

import re
from pathlib import Path

import pytest

from stillhouse_compression import models
from stillhouse_compression.layers import count_params, total_macs
from stillhouse_compression.training import Recipe, TrainingSettings

PAGE = (Path(__file__).parents[2] / "docs" / "compression.md").read_text()


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "docs/compression.md", "exec"), {})
    top1, share = capsys.readouterr().out.split()
    assert float(top1) > 0.5
    # conv2 has half of its filters, fc1 half of its inputs: 144,000 of 651,720 MACs are gone.
    assert float(share) == pytest.approx(1 - 144_000 / 651_720)
    assert (tmp_path / "small.onnx").stat().st_size > 100_000


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`[a-z_]+`.*?) \| .*? \| (.*?) \| .*? \|$", PAGE, re.MULTILINE))
    told = {
        name: defaults for names, defaults in rows.items() for name in re.findall("`(.*?)`", names)
    }
    recipe, training = Recipe().to_mapping(), TrainingSettings().to_mapping()
    assert set(recipe | training) <= set(told)
    for name in set(recipe | training):
        for value in {recipe.get(name), training.get(name)} - {None}:
            shown = (
                str(value).lower()
                if isinstance(value, bool)
                else f"{value:g}"
                if isinstance(value, float)
                else str(value)
            )
            assert shown in re.findall(r"[\w.]+", told[name]), name


@pytest.mark.parametrize(
    ("name", "millions", "mega_macs"),
    [
        ("resnet32_cifar", 0.47, 69),
        ("resnet44_cifar", 0.66, 97),
        ("resnet56_cifar", 0.86, 126),
        ("plain20_cifar", 0.27, 41),
        ("mobilenet_v2_cifar", 2.2, 88),
    ],
)
def test_the_networks_have_the_sizes_of_the_table(
    name: str, millions: float, mega_macs: float
) -> None:
    model = models.build(name)
    assert count_params(model) / 1e6 == pytest.approx(millions, abs=0.05 if millions > 1 else 0.006)
    assert total_macs(model, (3, 32, 32)) / 1e6 == pytest.approx(mega_macs, abs=0.5)
    assert f"`{name}`" in PAGE
