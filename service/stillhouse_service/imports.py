"""Trials that were run elsewhere, brought into a study: all of them, or none with every reason.

Depends on: the store, stillhouse_optimizer. In a study that is run outside they count as told; in
one that this server runs nothing vouches for their device, and no incumbent comes of them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.parameter import Parameter
from stillhouse_optimizer.space import Space
from stillhouse_service import incumbents, warm_start
from stillhouse_service.asking import check_metrics
from stillhouse_service.enqueue import legal_config
from stillhouse_service.errors import Conflict, Problem, SpecRejected
from stillhouse_service.outside_checks import METRIC
from stillhouse_service.repositories.trials import FOREIGN, IMPORTED
from stillhouse_service.schemas import ImportedTrial, ImportIn
from stillhouse_service.schemas.imports import MOST_TRIALS
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

_STATE = "state"
_LARGEST = 1e15
_N_PROBLEMS = 200  # more are counted, not listed


def bring(work: UnitOfWork, study_id: str, wanted: ImportIn) -> list[str]:
    """Bring trials into a study; give their ids.

    Raises:
        NotFound: No such study.
        Conflict: It is over.
        SpecRejected: A trial is none of its space or lacks a metric; nothing was brought.
    """
    study = work.studies.named(study_id)
    if is_final(study.state):
        raise Conflict(f"study {study_id} is {study.state}; clone it with `warm_start` instead")
    space = Space(incumbents.problem_of(study))
    problems: list[Problem] = []
    if wanted.csv is not None:
        trials, problems = _read_csv(wanted.csv, space)
    else:
        trials = list(wanted.trials or ())
    configs = []
    for i, trial in enumerate(trials):
        found, config = _check(study, space, trial, f"trials[{i}]")
        problems += found
        configs.append(config)
    if problems:
        raise SpecRejected(_shortened(problems))
    rows = _rows(work, study, trials, configs)
    work.trials.add_all(rows)
    work.note(study, work.user, kind="import", reason=f"{len(rows)} trials of a file")
    best = incumbents.best_of(study, [row for row in rows if row.is_feasible])
    if best is not None:
        incumbents.compare(work, study, best, work.user)
    return [row.id for row in rows]


def _rows(
    work: UnitOfWork,
    study: StudyRow,
    trials: Sequence[ImportedTrial],
    configs: Sequence[Mapping[str, Any]],
) -> list[TrialRow]:
    is_ours = study.baseline_id is None
    first = work.trials.n_of(study.id)
    rows = []
    for i, (trial, config) in enumerate(zip(trials, configs, strict=True)):
        metrics = trial.metrics if trial.state == "complete" else None
        origin = IMPORTED if is_ours else FOREIGN
        row = warm_start.brought(work, study, first + i, config, metrics, origin)
        row.state = TrialState(trial.state)
        if is_ours and row.state == TrialState.COMPLETE:
            incumbents.judge(study, row)
        rows.append(row)
    return rows


def _check(
    study: StudyRow, space: Space, trial: ImportedTrial, where: str
) -> tuple[list[Problem], dict[str, Any]]:
    """Find everything wrong with one trial; give its config as the space writes it."""
    parameters = {parameter.name: parameter for parameter in space.parameters}
    problems = []
    for name, value in trial.config.items():
        path = f"{where}.config.{name}"
        if name not in parameters:
            problems.append(Problem(path, "no such parameter"))
        elif not parameters[name].allows(value):
            problems.append(Problem(path, f"{value!r} is outside its range"))
    config: dict[str, Any] = {}
    if not problems:
        try:
            config = legal_config(space, trial.config, f"{where}.config")
        except ProblemError as error:
            message = str(error).removeprefix(f"{error.field}: ")
            problems.append(Problem(error.field, message))
    if trial.state != "complete":
        return problems, config
    bad = []
    for name, value in trial.metrics.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if METRIC.fullmatch(name) is None:
            bad.append(Problem(f"{where}.metrics.{name}", "must be a name like `loss`"))
        elif not is_number or not math.isfinite(value) or abs(value) > _LARGEST:
            message = f"must be a finite number, got {value!r:.50}"
            bad.append(Problem(f"{where}.metrics.{name}", message))
    if bad:
        return problems + bad, config
    try:
        check_metrics(study, trial.metrics, f"{where}.metrics")
    except SpecRejected as error:
        problems += error.problems
    return problems, config


def _read_csv(text: str, space: Space) -> tuple[list[ImportedTrial], list[Problem]]:
    """Read a table whose columns are parameters, metrics and perhaps `state`."""
    parameters = {parameter.name: parameter for parameter in space.parameters}
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        return [], [Problem("csv", f"is no table: {error}")]
    if len(lines) < 2:
        return [], [Problem("csv", "wanted a header and at least one line")]
    header, body = [name.strip() for name in lines[0]], lines[1:]
    problems = [
        Problem("csv", f"column {name!r} stands twice")
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    problems += [
        Problem("csv", f"column {name!r} is neither a parameter nor a metric's name")
        for name in header
        if name not in parameters and METRIC.fullmatch(name) is None
    ]
    if len(body) > MOST_TRIALS:
        problems.append(Problem("csv", f"has {len(body)} lines; at most {MOST_TRIALS} at once"))
    if problems:
        return [], problems
    trials = []
    for i, line in enumerate(body):
        where = f"trials[{i}]"
        if len(line) != len(header):
            message = f"has {len(line)} cells, the header has {len(header)}"
            problems.append(Problem(where, message))
            continue
        cells = {name: cell.strip() for name, cell in zip(header, line, strict=True)}
        state = cells.pop(_STATE, "") if _STATE not in parameters else ""
        if state not in ("", "complete", "failed", "unsupported"):
            problems.append(Problem(f"{where}.state", f"no state {state!r:.50} of a trial's end"))
            continue
        config = {k: _value(parameters[k], v) for k, v in cells.items() if k in parameters and v}
        metrics = {k: _number(v) for k, v in cells.items() if k not in parameters and v}
        trials.append(
            ImportedTrial.model_construct(config=config, metrics=metrics, state=state or "complete")
        )
    return trials, problems


def _value(parameter: Parameter, cell: str) -> Any:
    """Read a cell as the parameter's value that is written so, else as it stands."""
    for value in parameter.choices:
        if cell == str(value) or cell == json.dumps(value):
            return value
    return cell if parameter.is_listed else _number(cell)


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell


def _shortened(problems: Sequence[Problem]) -> Sequence[Problem]:
    n_more = len(problems) - _N_PROBLEMS
    if n_more <= 0:
        return problems
    return [*problems[:_N_PROBLEMS], Problem("trials", f"{n_more} more problems")]
