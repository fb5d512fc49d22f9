"""A study's trials as a table, CSV or Parquet, under the column names of Optuna's data frames.

Depends on: the store. Trials are read page by page, each in a short transaction, so that ten
thousand of them are never in memory at once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stillhouse_service.parquet import parquet_pieces
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.store import Store
from stillhouse_service.tables import TrialRow

_N_AT_ONCE = 500
# Of ours -> Optuna's word.
_STATES = {
    TrialState.QUEUED: "WAITING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.FAILED: "FAIL",
    TrialState.UNSUPPORTED: "FAIL",
    TrialState.CANCELLED: "FAIL",
    TrialState.STOPPED: "PRUNED",
}
_ATTRIBUTES = {
    "failure_class": "string",
    "failure_reason": "string",
    "failure_stage": "string",
    "id": "string",
    "is_feasible": "bool",
    "origin": "string",
    "seed": "int64",
    "state": "string",
}


class TrialTable:
    """One study's trials as rows.

    Attributes:
        columns: Name -> kind (`string`, `double`, `int64`, `bool`, `timestamp`, `duration`), in
            the order of Optuna's `trials_dataframe`: `number`, `values_<objective>`,
            `datetime_start`, `datetime_complete`, `duration`, `params_<name>`,
            `user_attrs_<metric or member of a Trial>`, `state`.
    """

    def __init__(self, store: Store, study_id: str) -> None:
        """Look at what there is; trials that are added later are in the rows all the same.

        Raises:
            NotFound: No such study.
        """
        self._store, self._study_id = store, study_id
        with store.read() as view:
            study = view.studies.named(study_id)
        self._objectives = list(study.spec["objectives"])
        metrics = {name for row in self._rows() for name in row.metrics or {}}
        attributes = dict.fromkeys(metrics - set(self._objectives), "double") | _ATTRIBUTES
        kinds = {str(p["name"]): _kind(p) for p in study.problem["parameters"]}
        self.columns: Mapping[str, str] = {
            "number": "int64",
            **{f"values_{name}": "double" for name in self._objectives},
            "datetime_start": "timestamp",
            "datetime_complete": "timestamp",
            "duration": "duration",
            **{f"params_{name}": kinds[name] for name in sorted(kinds)},
            **{f"user_attrs_{name}": attributes[name] for name in sorted(attributes)},
            "state": "string",
        }

    def csv_pieces(self) -> Iterator[str]:
        """Write CSV; times in ISO 8601, durations in seconds."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.columns), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for rows in self._batches():
            writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
            yield out.getvalue()
            out.seek(0)
            out.truncate()
        yield out.getvalue()

    def parquet_pieces(self) -> Iterator[bytes]:
        """Write Parquet.

        Raises:
            ExtraMissing: pyarrow is not installed.
        """
        return parquet_pieces(self.columns, self._typed())

    def _typed(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        texts = {name for name, kind in self.columns.items() if kind == "string"}
        for rows in self._batches():
            yield [
                {name: _text(v) if name in texts else v for name, v in row.items()} for row in rows
            ]

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        for row in self._rows():
            batch.append(self._cells(row))
            if len(batch) == _N_AT_ONCE:
                yield batch
                batch = []
        if batch:
            yield batch

    def _rows(self) -> Iterator[TrialRow]:
        after: int | None = None
        while True:
            with self._store.read() as view:
                rows = view.trials.page(self._study_id, _N_AT_ONCE, after)
            yield from rows
            if len(rows) < _N_AT_ONCE:
                return
            after = rows[-1].number

    def _cells(self, row: TrialRow) -> dict[str, Any]:
        metrics = dict(row.metrics or {})
        failure = row.failure or {}
        has_ended = is_final(row.state) and row.started_at is not None
        attributes = {
            **{name: value for name, value in metrics.items() if name not in self._objectives},
            "failure_class": failure.get("class"),
            "failure_reason": failure.get("reason"),
            "failure_stage": failure.get("stage"),
            "id": row.id,
            "is_feasible": row.is_feasible,
            "origin": row.origin,
            "seed": row.seed,
            "state": row.state.value,
        }
        duration = None
        if has_ended and row.finished_at is not None and row.started_at is not None:
            duration = row.finished_at - row.started_at
        return {
            "number": row.number,
            **{f"values_{name}": metrics.get(name) for name in self._objectives},
            "datetime_start": row.started_at,
            "datetime_complete": row.finished_at,
            "duration": duration,
            # None is a choice's value, too: of the inactive there is nothing to write.
            **{f"params_{name}": _or_null(value) for name, value in row.config.items()},
            **{f"user_attrs_{name}": value for name, value in attributes.items()},
            "state": _STATES.get(row.state, "RUNNING"),
        }


def _kind(parameter: Mapping[str, Any]) -> str:
    """Kind of a parameter's column; of a choice what all its values are."""
    if parameter["kind"] in ("float", "int"):
        return "double" if parameter["kind"] == "float" else "int64"
    kinds = {type(choice) for choice in parameter["choices"]}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int64"
    return "double" if kinds <= {int, float} else "string"


def _or_null(value: object) -> object:
    return "null" if value is None else value


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if hasattr(value, "total_seconds"):
        return repr(value.total_seconds())
    return str(value)
