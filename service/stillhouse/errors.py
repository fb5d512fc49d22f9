"""What the client raises.

Depends on: the standard library.

    StillhouseError ── ConnectionFailed     nobody answered
                    ├─ ProblemError         the server refused, and says why
                    ├─ UnexpectedAnswer     what came back is not what a Stillhouse server sends
                    ├─ ArtifactCorrupt      downloaded bytes do not have the hash asked for
                    └─ WaitTimeout          the thing waited for is not over yet
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what was sent.

    Attributes:
        path: Dotted path into what was sent, `template.pruners.stage1.weights[0]`.
        message: What is wrong and what was wanted.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class StillhouseError(Exception):
    """Root of everything this package raises on purpose."""

    @property
    def is_passing(self) -> bool:
        """Whether the same question may well be answered a little later."""
        return False


class ConnectionFailed(StillhouseError):
    """No answer from the server: wrong address, not started, or the network is down."""

    @property
    def is_passing(self) -> bool:
        """A server that restarts answers again."""
        return True


class UnexpectedAnswer(StillhouseError):
    """The answer is not what a Stillhouse server of this version sends."""


class ArtifactCorrupt(StillhouseError):
    """Downloaded bytes do not have the hash they were asked for by."""


class WaitTimeout(StillhouseError):
    """The time to wait is over and the thing is not."""


class ProblemError(StillhouseError):
    """The server refused, with an `application/problem+json` document (RFC 9457).

    Attributes:
        status: HTTP status.
        kind: The document's `type`, such as `/problems/spec-rejected`.
        title: Short name of the kind of problem.
        detail: What is wrong this time.
        problems: Every problem with its path, where the server lists them; else empty.
    """

    def __init__(
        self, status: int, kind: str, title: str, detail: str, problems: Sequence[Problem] = ()
    ) -> None:
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.problems = tuple(problems)
        super().__init__(detail or title)

    @property
    def is_passing(self) -> bool:
        """503: the server is there and cannot answer just now, its database being busy."""
        return self.status == 503
