"""What the service refuses.

Depends on: the standard library. How a refusal reads over HTTP is problem_documents.py's business.

    ServiceError ── Unauthorized 401, Forbidden 403, NotFound 404,
                    Conflict 409, LeaseLost 409, IllegalTransition 409,
                    BodyTooLarge 413, SpecRejected 422, KeyReused 422, AddressRefused 422,
                    UpgradeRequired 426, RateLimited 429,
                    SchemaMismatch, DatabaseUnusable, StoreUnusable, ArtifactCorrupt,
                    ArtifactTooLarge, ComputeUnavailable 500,
                    ExtraMissing 501
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input, and where.

    Attributes:
        path: Dotted path into what was sent, `template.pruners.stage1.weights[0]`.
        message: What is wrong and what was wanted.
    """

    path: str
    message: str


class ServiceError(Exception):
    """Root of everything the service raises on purpose."""

    status = 500
    slug = "internal"
    title = "Internal error"

    @property
    def extensions(self) -> Mapping[str, Any]:
        """Members added to the problem document."""
        return {}


class Unauthorized(ServiceError):
    """No token was shown, or none that is good."""

    status, slug, title = 401, "unauthorized", "Token wanted"


class Forbidden(ServiceError):
    """The token shown does not allow this."""

    status, slug, title = 403, "forbidden", "Not allowed with this token"


class NotFound(ServiceError):
    """There is no such thing."""

    status, slug, title = 404, "not-found", "Not found"


class Conflict(ServiceError):
    """The thing is not in a state that allows this."""

    status, slug, title = 409, "conflict", "Conflict"


class LeaseLost(ServiceError):
    """The lease ran out, was taken back, or somebody else has finished."""

    status, slug, title = 409, "lease-lost", "Lease lost"


class IllegalTransition(ServiceError):
    """The state machine does not allow this step."""

    status, slug, title = 409, "illegal-transition", "Not possible in this state"


class SpecRejected(ServiceError):
    """What was sent cannot work; every reason is listed."""

    status, slug, title = 422, "spec-rejected", "Specification rejected"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.path}: {p.message}" for p in self.problems))

    @property
    def extensions(self) -> Mapping[str, Any]:
        """The problems, each with its path."""
        return {"problems": [asdict(problem) for problem in self.problems]}


class KeyReused(ServiceError):
    """An `Idempotency-Key` came with two different requests."""

    status, slug, title = 422, "idempotency-key-reused", "Idempotency-Key used before"


class AddressRefused(ServiceError):
    """A webhook's address is none that this server calls."""

    status, slug, title = 422, "address-refused", "Address refused"


class BodyTooLarge(ServiceError):
    """The request is larger than the server takes."""

    status, slug, title = 413, "body-too-large", "Body too large"


class RateLimited(ServiceError):
    """The caller asks more often than the server lets in."""

    status, slug, title = 429, "rate-limited", "Too many requests"


class UpgradeRequired(ServiceError):
    """The device host speaks a protocol this server does not."""

    status, slug, title = 426, "upgrade-required", "Upgrade required"


class SchemaMismatch(ServiceError):
    """The database was written by another version of Stillhouse."""

    slug, title = "schema-mismatch", "Database of another version"


class DatabaseUnusable(ServiceError):
    """The database URL cannot be opened: wrong kind, or no driver for it."""

    slug, title = "database-unusable", "Database unusable"


class ArtifactCorrupt(ServiceError):
    """Stored bytes do not have the hash they are stored under."""

    slug, title = "artifact-corrupt", "Artifact corrupt"


class ArtifactTooLarge(ServiceError):
    """Content is larger than the artifact store takes."""

    slug, title = "artifact-too-large", "Artifact too large"


class StoreUnusable(ServiceError):
    """The artifact store's URL cannot be opened: no driver for it, or malformed."""

    slug, title = "store-unusable", "Artifact store unusable"


class ComputeUnavailable(ServiceError):
    """The compute cluster cannot be used."""

    slug, title = "compute-unavailable", "Compute unavailable"


class ExtraMissing(ServiceError):
    """The server could do this with a package that is not installed; `detail` names it."""

    status, slug, title = 501, "extra-missing", "Not installed on this server"


class Deposed(Exception):
    """This server drives no more; no request ever sees it."""
