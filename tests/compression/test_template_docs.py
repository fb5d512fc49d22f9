"""docs/templates.md says what is so: its blocks are parsed, checked and run."""

import re
from pathlib import Path

import pytest

from stillhouse_compression.models import build
from stillhouse_compression.template import check_against_model, parse_template
from stillhouse_compression.template.errors import TemplateErrors

PAGE = Path(__file__).parents[2] / "docs" / "templates.md"
BLOCKS = re.findall(r"^```(.+?)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def blocks(kind: str) -> list[str]:
    return [text for info, text in BLOCKS if info == kind]


def test_the_page_has_examples_of_every_kind() -> None:
    assert {info for info, _ in BLOCKS} == {
        "yaml",
        "yaml training",
        "yaml refused",
        "text",
        "python",
    }


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_example_is_a_template_that_checks_cleanly_on_resnet_20(text: str) -> None:
    (training,) = blocks("yaml training")
    template = parse_template(text, training if "training." in text else "epochs: 4")
    assert template.parameters
    assert check_against_model(template, build("resnet20_cifar")) == []
    for config in template.extremes():
        assert "!" not in template.render(config).schedule_yaml()


def test_what_is_refused_is_refused_in_these_words() -> None:
    (text,), (training,), (words,) = blocks("yaml refused"), blocks("yaml training"), blocks("text")
    with pytest.raises(TemplateErrors) as caught:
        parse_template(text, training)
    assert [str(problem) for problem in caught.value.problems] == words.splitlines()


@pytest.mark.parametrize("source", blocks("python"))
def test_every_python_example_runs(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(source, str(PAGE), "exec"), {})
    assert "conv1.weight" in capsys.readouterr().out
