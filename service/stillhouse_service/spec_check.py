"""A study's spec while somebody writes it: what is wrong so far, and what it would search.

Depends on: the store, lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stillhouse_service import lives
from stillhouse_service.errors import SpecRejected
from stillhouse_service.schemas import StudySpec
from stillhouse_service.schemas import overview as shapes
from stillhouse_service.store import Store


def checked(store: Store, spec: Mapping[str, Any], computes_here: bool) -> shapes.SpecCheck:
    """Check a spec and start nothing.

    Args:
        store: Where its baseline, its device and earlier studies are known.
        spec: As sent, whatever it may be.
        computes_here: Whether trials are compressed by this installation.
    """
    try:
        search = lives.check_spec(store, StudySpec.model_validate(spec), computes_here)
    except ValidationError as error:
        return _refused([(_path(one["loc"]), str(one["msg"])) for one in error.errors()])
    except SpecRejected as error:
        return _refused([(one.path, one.message) for one in error.problems])
    return shapes.SpecCheck(
        problems=[],
        parameters=list(search["parameters"]),
        n_forbidden=len(search.get("forbidden", ())),
    )


def _refused(found: list[tuple[str, str]]) -> shapes.SpecCheck:
    problems = [shapes.SpecProblem(path=path, message=message) for path, message in found]
    return shapes.SpecCheck(problems=problems, parameters=[], n_forbidden=0)


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")
