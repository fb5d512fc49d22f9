"""Which studies and trials a list shows, in which order, and where its next page begins.

Depends on: sqlalchemy. A page begins after a key that no write changes, or, in an order by a
metric, after the value that a trial had: rows that come and go meanwhile shift nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, or_, select

from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.repositories.pages import from_token, to_token
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.tables import StudyRow, TrialRow

StudyOrder = Literal["-created", "created", "name", "-name"]
_NUMBER = "number"
_SEPARATOR = "\n"


@dataclass(frozen=True)
class StudyFilter:
    """Which studies are wanted; what is none does not matter."""

    states: Sequence[StudyState] = ()
    name: str | None = None  # part of it, whatever the case
    device: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    order: StudyOrder = "-created"

    def page(self, limit: int, token: str | None) -> Select[StudyRow]:
        """Select the page that begins at `token`.

        Raises:
            SpecRejected: The token is not of a list in this order.
        """
        query = select(StudyRow)
        if self.states:
            query = query.where(StudyRow.state.in_(self.states))
        if self.name is not None:
            query = query.where(StudyRow.name.icontains(self.name, autoescape=True))
        if self.device is not None:
            query = query.where(StudyRow.spec["device"].as_string() == self.device)
        if self.created_after is not None:
            query = query.where(StudyRow.created_at > self.created_after)
        if self.created_before is not None:
            query = query.where(StudyRow.created_at < self.created_before)
        is_down, by = self.order.startswith("-"), self.order.lstrip("-")
        key: Any = StudyRow.created_at if by == "created" else StudyRow.name
        if token is not None:
            text, row_id = _read(token, self.order)
            at = _moment(text, token) if by == "created" else text
            query = query.where(_after(key, at, StudyRow.id, row_id, is_down))
        ends = (key.desc(), StudyRow.id.desc()) if is_down else (key, StudyRow.id)
        return query.order_by(*ends).limit(limit)

    def token(self, last: StudyRow) -> str:
        """Name the place after `last`."""
        by = self.order.lstrip("-")
        key = last.created_at.isoformat() if by == "created" else last.name
        return _token(self.order, key, last.id)


@dataclass(frozen=True)
class TrialFilter:
    """Which trials of a study are wanted; what is none does not matter.

    Attributes:
        states: In any of these states; empty: in any.
        is_feasible: Whether they keep the limits.
        order: `number`, or a metric's name: trials without it are left out; `-` in front turns it.
    """

    states: Sequence[TrialState] = ()
    is_feasible: bool | None = None
    order: str = _NUMBER

    def page(self, study_id: str, limit: int, token: str | None) -> Select[TrialRow]:
        """Select the page of a study that begins at `token`.

        Raises:
            SpecRejected: The token is not of a list in this order.
        """
        query = select(TrialRow).where(TrialRow.study_id == study_id)
        if self.states:
            query = query.where(TrialRow.state.in_(self.states))
        if self.is_feasible is not None:
            query = query.where(TrialRow.is_feasible.is_(self.is_feasible))
        is_down, by = self.order.startswith("-"), self.order.lstrip("-")
        if by == _NUMBER:
            if token is not None:
                number = _whole(_read(token, self.order)[1], token)
                is_next = TrialRow.number < number if is_down else TrialRow.number > number
                query = query.where(is_next)
            end = TrialRow.number.desc() if is_down else TrialRow.number.asc()
            return query.order_by(end).limit(limit)
        value: Any = TrialRow.metrics[by].as_float()
        query = query.where(value.is_not(None))
        if token is not None:
            text, last = _read(token, self.order)
            number, at = _whole(last, token), _number(text, token)
            query = query.where(_after(value, at, TrialRow.number, number, is_down))
        ends = (value.desc(), TrialRow.number.desc()) if is_down else (value, TrialRow.number)
        return query.order_by(*ends).limit(limit)

    def token(self, last: TrialRow) -> str:
        """Name the place after `last`."""
        by = self.order.lstrip("-")
        key = "" if by == _NUMBER else repr(float((last.metrics or {})[by]))
        return _token(self.order, key, str(last.number))


def _after(key: Any, at: object, second: Any, last: object, is_down: bool) -> ColumnElement[bool]:
    if is_down:
        return or_(key < at, and_(key == at, second < last))
    return or_(key > at, and_(key == at, second > last))


def _token(order: str, key: str, last: str) -> str:
    return to_token(_SEPARATOR.join((order, last, key)))


def _read(token: str, order: str) -> tuple[str, str]:
    """Give key and tie-breaker of the last row."""
    made_for, _, rest = from_token(token).partition(_SEPARATOR)
    last, separator, key = rest.partition(_SEPARATOR)
    if made_for != order or not separator or "\x00" in rest:
        raise _unreadable(token)
    return key, last


def _moment(text: str, token: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable(token) from None
    if at.tzinfo is None:
        raise _unreadable(token)
    return at


def _whole(text: str, token: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _unreadable(token)
    return int(text)


def _number(text: str, token: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _unreadable(token) from None
    if not math.isfinite(value):
        raise _unreadable(token)
    return value


def _unreadable(token: str) -> SpecRejected:
    wanted = "not a token of this list in this order: take `next_page_token` of the page before"
    return SpecRejected([Problem("page_token", f"{token!r:.60} is {wanted}")])
