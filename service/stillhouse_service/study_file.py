"""A study.yaml as the StudySpec that the REST API takes.

Depends on: pyyaml. Search tags under `training:` are carried as text, never constructed: only the
template's own reader on the server gives them a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stillhouse_service.errors import Problem, SpecRejected

_KEYS = (
    "name",
    "runner",
    "baseline",
    "device",
    "template",
    "parameters",
    "forbidden",
    "warm_start",
    "transfer",
    "training",
    "objectives",
    "reference",
    "constraints",
    "budget",
    "parallel",
    "seed",
    "surrogate",
    "optimizer",
    "engine",
    "resources",
    "reuse",
    "probe",
    "early_stop",
    "fidelity",
    "timing",
)
_REQUIRED = ("baseline", "device", "template", "budget")
_REQUIRED_OUTSIDE = ("budget",)  # of a study whose trials are run by who asks for them
_BASELINE_KEYS = ("model", "dataset", "recipe", "seed")


def study_spec_from_file(path: Path) -> dict[str, Any]:
    """Read a study file.

    `template:` is a file's name, relative to the study file, or the schedule itself; `training:`
    is a mapping that may hold tags. Both travel as YAML text. `name:` is the file's folder if it
    is left out.

    Args:
        path: The study file.

    Returns:
        A StudySpec, ready for `POST /v1/studies`, except that its `baseline` may still be the
        mapping `{model, dataset, recipe, seed}` of a baseline to train or find.

    Raises:
        SpecRejected: The file cannot be read, is no YAML mapping, or a key is unknown, missing,
            doubled or of the wrong kind; every problem is named with its path.
    """
    root = _compose(path, "study")
    if not isinstance(root, yaml.MappingNode):
        raise SpecRejected([Problem("study", f"{path} must hold a mapping, key: value")])
    problems: list[Problem] = []
    spec: dict[str, Any] = {"name": path.resolve().parent.name}
    seen: set[str] = set()
    for key_node, node in root.value:
        key = str(key_node.value)
        if key not in _KEYS:
            problems.append(
                Problem(key, f"unknown key{_line(key_node)}; known: {', '.join(_KEYS)}")
            )
        elif key in seen:
            problems.append(Problem(key, f"given twice{_line(key_node)}"))
        else:
            try:
                spec[key] = _value(key, node, path.parent)
            except SpecRejected as error:
                problems.extend(error.problems)
        seen.add(key)
    required = _REQUIRED_OUTSIDE if spec.get("runner") == "outside" else _REQUIRED
    problems += [Problem(key, f"missing in {path}") for key in required if key not in seen]
    if problems:
        raise SpecRejected(problems)
    return spec


def _value(key: str, node: yaml.Node, folder: Path) -> Any:
    if key == "template":
        if isinstance(node, yaml.ScalarNode):
            return _template_file(folder / str(node.value))
        return _text(key, node)
    if key == "training":
        return _text(key, node)
    value = _plain(key, node)
    if key == "baseline":
        _check_baseline(value)
    return value


def _template_file(path: Path) -> str:
    _compose(path, "template")  # a broken file is named here, by its line, before anything is sent
    return path.read_text(encoding="utf-8")


def _compose(path: Path, key: str) -> yaml.Node | None:
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise SpecRejected([Problem(key, f"no file {path}")]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecRejected([Problem(key, f"cannot read {path}: {error}")]) from error
    except yaml.YAMLError as error:
        raise SpecRejected([Problem(key, f"{path} is not valid YAML: {_short(error)}")]) from error


def _text(key: str, node: yaml.Node) -> str:
    """Write a sub-tree as YAML, with its tags."""
    if not isinstance(node, yaml.MappingNode):
        raise SpecRejected([Problem(key, f"must be a mapping{_line(node)}")])
    text: str = yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True)
    return text


def _plain(key: str, node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.constructor.ConstructorError as error:
        # only training and template may vary
        reason = f"{error.problem}; search tags may stand in template and training only"
        raise SpecRejected([Problem(key, reason + _line(node))]) from error
    finally:
        loader.dispose()


def _check_baseline(value: Any) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, Mapping):
        wanted = "must be a baseline's id or a mapping {model, dataset, recipe, seed}"
        raise SpecRejected([Problem("baseline", f"{wanted}, got {value!r}")])
    unknown = [str(key) for key in value if key not in _BASELINE_KEYS]
    missing = [key for key in ("model", "dataset") if key not in value]
    problems = [
        Problem(f"baseline.{key}", f"unknown key; known: {', '.join(_BASELINE_KEYS)}")
        for key in unknown
    ]
    problems += [Problem(f"baseline.{key}", "missing") for key in missing]
    if problems:
        raise SpecRejected(problems)


def _line(node: yaml.Node) -> str:
    mark = node.start_mark
    return f" (line {mark.line + 1})" if mark is not None else ""


def _short(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} at line {mark.line + 1}, column {mark.column + 1}"
    return str(error)
