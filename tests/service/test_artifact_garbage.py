"""Garbage collection: what nothing needs goes, what anything needs stays."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse_service import artifact_garbage, attempts, checkpoints, lives
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.errors import Conflict
from stillhouse_service.failures import Failure
from stillhouse_service.schemas import BaselineIn

OLD = 1_000_000.0  # seconds since 1970: older than any grace


def _age(store: ArtifactStore, *names: str) -> None:
    for name in names:
        os.utime(Path(store.address) / name, (OLD, OLD))


def _file(store: ArtifactStore, content: bytes) -> str:
    """An artifact that nobody has ever heard of."""
    sha256 = store.put(content).sha256
    return f"{sha256[:2]}/{sha256}"


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_what_nothing_needs_goes_and_every_artifact_that_a_row_names_stays(
    server: Any, connect: Any, run: Any, database: str
) -> None:
    host = connect(server)
    study = server.study(budget={"trials": 1})
    host.play(server, study, [0.8])
    store: ArtifactStore = server.artifacts
    needed = {file.name for file in store.place.files()}
    garbage = _file(store, b"of a trial that was cancelled")
    piece = "aa/.new-killed"
    store.place.write(piece, b"of a write that was killed")
    foreign = "letters/to-my-aunt"
    store.place.write(foreign, b"not ours to remove")
    needed |= {foreign}
    _age(store, *needed, garbage, piece)
    arguments = ("artifacts", "gc", "--database", database, "--artifacts", store.address)
    status, said, _ = run(*arguments, "--dry-run")
    assert (status, garbage in said, piece in said) == (0, True, True)
    assert f"would remove 2 files of 0.0 MB, kept {len(needed)}" in said
    assert store.place.has(garbage)
    status, said, _ = run(*arguments)
    assert status == 0 and "removed 2 files" in said
    assert {file.name for file in store.place.files()} == needed
    assert run(*arguments)[1].startswith("removed 0 files")
    # A trial's detail and the report still find all of theirs.
    (trial,) = server.get(f"/v1/studies/{study}/trials")["items"]
    for sha256 in trial["artifacts"].values():
        assert server.http.get(f"/v1/artifacts/{sha256}").status_code == 200
    check = ("artifacts", "check", "--database", database, "--artifacts", store.address)
    assert run(*check)[0] == 0
    victim = trial["artifacts"]["onnx"]
    store.place.write(f"{victim[:2]}/{victim}", b"bits have flipped")
    status, said, _ = run(*check)
    assert (status, victim in said) == (1, True)
    answer = server.http.get(f"/v1/artifacts/{victim}")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/artifact-corrupt")
    assert victim in answer.json()["detail"]


def test_a_store_that_the_database_knows_nothing_of_is_left_alone(server: Any) -> None:
    name = _file(server.artifacts, b"another server's")
    _age(server.artifacts, name)
    with pytest.raises(Conflict, match="database and the store of one server"):
        artifact_garbage.collect(server.store, server.artifacts)
    assert server.artifacts.place.has(name)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.lists(
        st.tuples(
            st.sampled_from(["order", "artifacts", "measurement", "details", "nobody"]),
            st.sampled_from(["old", "young"]),
        ),
        max_size=6,
    ),
    is_running=st.booleans(),
    has_ended=st.booleans(),
)
def test_nothing_goes_that_a_row_names_or_a_running_stage_may_need(
    server: Any, files: list[tuple[str, str]], is_running: bool, has_ended: bool
) -> None:
    """Whoever names a file, wherever: it stays. Of the rest, only the old goes."""
    store: ArtifactStore = server.artifacts
    salt = os.urandom(8)
    with server.store.begin() as work:
        wanted = BaselineIn(model="resnet20_cifar", dataset="digits", resources={})
        baseline = lives.create_baseline(work, wanted)
        (stage,) = [
            s
            for s in work.stages.waiting("compute", work.now, 1000)
            if s.baseline_id == baseline.id
        ]
        names: dict[str, tuple[str, str]] = {}
        for i, (who, age) in enumerate(files):
            name = _file(store, salt + bytes([i]))
            names[name] = (who, age)
            sha256 = name.partition("/")[2]
            if who == "order":
                stage.order = {**stage.order, f"weights{i}": sha256}
            elif who == "artifacts":
                baseline.artifacts = {**baseline.artifacts, f"onnx{i}": sha256}
            elif who == "details":
                baseline.details = {**baseline.details, f"deep{i}": [{"file": f"see {sha256}!"}]}
            elif who == "measurement":
                baseline.metrics = {**baseline.metrics, f"raw{i}": sha256}
            if age == "old":
                _age(store, name)
        if is_running or has_ended:
            attempt = attempts.start(work, stage, "compute", None)
        if has_ended:
            failure = Failure("train", "diverged", "it was so")
            attempts.fail(work, attempt, failure, server.settings)
    checkpoints.save(store.place, stage.id, b"state")
    _age(store, checkpoints.name_of(stage.id))
    anchor = _file(store, b"known to the database")
    with server.store.begin() as work:
        work.baselines.named(baseline.id).recipe = {"anchor": anchor.partition("/")[2]}
    artifact_garbage.collect(server.store, store)
    for name, (who, age) in names.items():
        is_garbage = who == "nobody" and age == "old"
        assert store.place.has(name) != is_garbage, (who, age)
    assert store.place.has(checkpoints.name_of(stage.id)) != has_ended


def test_what_a_long_running_stage_has_written_outlives_the_grace(server: Any) -> None:
    server.baseline()
    made = server.http.post("/v1/baselines", json={"model": "resnet20_cifar", "dataset": "digits"})
    with server.store.begin() as work:
        stages = work.stages.waiting("compute", work.now, 10)
        (stage,) = [one for one in stages if one.baseline_id == made.json()["id"]]
        attempt = attempts.start(work, stage, "compute", None)
        attempt.started_at = work.now - timedelta(hours=50)
    name = _file(server.artifacts, b"written early, named at the end")
    forty_hours_ago = time.time() - 40 * 3600
    os.utime(Path(server.artifacts.address) / name, (forty_hours_ago, forty_hours_ago))
    assert artifact_garbage.collect(server.store, server.artifacts).removed == []
    with server.store.begin() as work:
        attempts.release(work, work.stages.attempt(attempt.id), "it was so")
    found = artifact_garbage.collect(server.store, server.artifacts)
    assert [file.name for file in found.removed] == [name]
