"""Which stored files nothing needs any more, and their removal; and a look at those needed.

Depends on: the store, the artifact store. Runs beside a serving server: what is younger than a
grace age, or than the oldest stage under way on compute, is left alone, so that files which are
written before a row names them live.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from stillhouse_service import checkpoints
from stillhouse_service.artifact_places import Found
from stillhouse_service.artifacts import ArtifactStore, hash_of
from stillhouse_service.errors import ArtifactCorrupt, Conflict, NotFound
from stillhouse_service.states import is_final
from stillhouse_service.store import Store, UnitOfWork

GRACE_S = 24 * 3600.0
_N_LOOKS = 3  # for what a row names
# What else we write: pieces of writes that were killed, proofs of a shared store. Anything else in
# the folder is not ours to remove.
_OURS = re.compile(r"([0-9a-f]{2}|checkpoints|proofs)/\.(new|old)-.*|proofs/[0-9a-f-]+")


@dataclass
class Garbage:
    """What a collection found.

    Attributes:
        n_kept: Files that stay.
        removed: Files that went, or would have gone.
    """

    n_kept: int = 0
    removed: list[Found] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Size of what went."""
        return sum(file.n_bytes for file in self.removed)


def collect(
    store: Store, artifacts: ArtifactStore, grace_s: float = GRACE_S, is_dry: bool = False
) -> Garbage:
    """Remove files that no row names, checkpoints of stages that have ended, left-over pieces.

    Args:
        store: The database, which says what is needed.
        artifacts: Where the files lie.
        grace_s: Files written or wanted again within so many seconds stay.
        is_dry: Only say what would go.

    Raises:
        Conflict: The database knows none of the files: it is another server's.
    """
    now = time.time()
    # The files first: whatever is named later than they were listed is named when rows are read.
    files = list(artifacts.place.files())
    with store.read() as view:
        ages = [(view.now - begun).total_seconds() for begun in view.stages.begun_on("compute")]
        # A stage may have written long ago what it names at its end.
        limit = now - max([grace_s, *ages])
        named = view.log.named_hashes()
        old = [
            file for file in files if file.written_at < limit and not _is_needed(view, file, named)
        ]
    garbage = Garbage(n_kept=len(files) - len(old))
    artifact_files = {found for file in files if (found := hash_of(file.name)) is not None}
    known = artifact_files & named
    if artifact_files and not known:
        raise Conflict(
            f"none of the {len(artifact_files)} files of {artifacts.address} is known to this "
            "database: name the database and the store of one server"
        )
    if is_dry:
        garbage.removed = old
        return garbage
    old = _forget(store, old)
    for file in old:
        # The same content may have been written again just now: then it stays.
        if artifacts.place.remove_older(file.name, limit):
            garbage.removed.append(file)
    garbage.n_kept = len(files) - len(garbage.removed)
    return garbage


def _forget(store: Store, old: list[Found]) -> list[Found]:
    """Drop the rows of files that nothing names, whatever is reported meanwhile; give the files."""
    n_left = _N_LOOKS
    while True:
        with store.read() as view:
            seen, named = view.webhooks.last_event(), view.log.named_hashes()
        with store.begin() as work:
            # Whatever names a file is told in the log. On a server that never rests the last look
            # is taken while nobody writes.
            if work.webhooks.last_event() != seen:
                n_left -= 1
                if n_left > 0:
                    continue
                named = work.log.named_hashes()
            old = [file for file in old if hash_of(file.name) not in named]
            work.log.drop_artifacts({found for file in old if (found := hash_of(file.name))})
            return old


def damaged(store: Store, artifacts: ArtifactStore) -> Iterator[str]:
    """Read every artifact that a row names, and say which are damaged or gone."""
    with store.read() as view:
        hashes = sorted(view.log.artifact_hashes())
    for sha256 in hashes:
        try:
            artifacts.read(sha256)
        except (ArtifactCorrupt, NotFound) as error:
            yield str(error)


def _is_needed(view: UnitOfWork, file: Found, named: set[str]) -> bool:
    if file.name.startswith(checkpoints.PREFIX):
        stage = view.stages.find(file.name.removeprefix(checkpoints.PREFIX))
        return stage is not None and not is_final(stage.state)
    sha256 = hash_of(file.name)
    return sha256 in named if sha256 is not None else not _OURS.fullmatch(file.name)
