"""What can go wrong on a device's host.

Depends on: the standard library.

    BenchmarkError
    ├── ProtocolError        a message that is not what docs/protocol.md says
    ├── ServerError          the server refused or could not be reached
    │   ├── ServerUnreachable   try again later
    │   ├── LeaseLost           somebody else has the job, or it is finished
    │   ├── UnknownWorker       register again
    │   └── UpgradeRequired     this host's protocol version is too old
    ├── CacheError           a file could not be kept
    │   └── WrongContent        the server sent something else than it announced
    ├── LockError            the device is in use by another process
    └── JobFailed            the job failed; carries one of protocol.FAILURE_CLASSES
"""

from __future__ import annotations


class BenchmarkError(Exception):
    """Root of every error this package raises on purpose."""


class ProtocolError(BenchmarkError, ValueError):
    """A message broke the protocol.

    Attributes:
        field: Path of the offending field, such as ``job.settings.time_limit_s``.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class ServerError(BenchmarkError):
    """The server answered with an error.

    Attributes:
        status: HTTP status, 0 when there was no answer at all.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ServerUnreachable(ServerError):
    """No usable answer: the server is down, restarting, or the network is."""


class LeaseLost(ServerError):
    """The lease expired or was cancelled, or another host finished the job first."""


class UnknownWorker(ServerError):
    """The server does not know this worker's id; it has to register again."""


class UpgradeRequired(ServerError):
    """The server no longer speaks this host's protocol version."""


class CacheError(BenchmarkError):
    """A file could not be kept: the disk is full or the folder cannot be written."""


class WrongContent(CacheError):
    """The server sent something else than it announced."""


class LockError(BenchmarkError):
    """Another process holds the device."""


class JobFailed(BenchmarkError):
    """A job came to a bad end; the host itself is well.

    Attributes:
        failure_class: One of ``protocol.FAILURE_CLASSES``.
        stage: What the job was doing, such as ``compile``.
        layers: Torch names of the layers to blame, if known.
    """

    def __init__(
        self, failure_class: str, stage: str, reason: str, layers: tuple[str, ...] = ()
    ) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.stage = stage
        self.reason = reason
        self.layers = layers
