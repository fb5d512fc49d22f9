"""The state machine, walked at random: reports late, doubled, lost and foreign."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from stillhouse_benchmark.protocol import FAILURE_CLASSES, Device, Failure, Result
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.template import parse_template
from stillhouse_service import attempts, enqueue, leases, lives, outcomes, states, views
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.checks import check_study
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.errors import Conflict, IllegalTransition, LeaseLost
from stillhouse_service.failures import COMPUTE_POLICIES, DEVICE_POLICIES
from stillhouse_service.failures import Failure as StageFailure
from stillhouse_service.schemas import BaselineIn, Budget, StudySpec
from stillhouse_service.settings import Settings
from stillhouse_service.states import (
    AttemptState,
    BaselineState,
    StageState,
    StudyState,
    TrialState,
    check_move,
    is_final,
)
from stillhouse_service.steps import Steps
from stillhouse_service.store import Store
from stillhouse_service.tables import AttemptRow, EventRow, MeasurementRow, StageRow, TrialRow
from stillhouse_service.watchdog import Watchdog

MOVED = ("state", "stage", "attempt")  # kinds of events that are moves of a state machine
MOVES: dict[Any, Any] = {
    BaselineState: states.BASELINE_MOVES,
    StudyState: states.STUDY_MOVES,
    TrialState: states.TRIAL_MOVES,
    StageState: states.STAGE_MOVES,
    AttemptState: states.ATTEMPT_MOVES,
}


@pytest.mark.parametrize("kind", MOVES)
def test_every_state_has_its_row_in_the_table(kind: Any) -> None:
    assert set(MOVES[kind]) == set(kind)


@pytest.mark.parametrize("kind", MOVES)
def test_every_state_but_the_first_can_be_reached(kind: Any) -> None:
    first = next(iter(kind))
    reached, frontier = {first}, [first]
    while frontier:
        for after in MOVES[kind][frontier.pop()]:
            if after not in reached:
                reached.add(after)
                frontier.append(after)
    assert reached == set(kind)


@pytest.mark.parametrize("kind", MOVES)
def test_exactly_the_listed_moves_are_allowed(kind: Any) -> None:
    for before, after in itertools.product(kind, kind):
        if after in MOVES[kind][before]:
            check_move(before, after, "thing 1")
        else:
            with pytest.raises(IllegalTransition, match=f"thing 1 is {before}"):
                check_move(before, after, "thing 1")


TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8}
    weights: [layer1.0.conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
N_TRIALS = 3
MAX_ATTEMPTS = 3
_numbers = itertools.count()


class _Crowded(Store):
    """A store in which somebody else is faster, once: between what was read and what is written."""

    between: Callable[[], object] | None = None

    @contextmanager
    def begin(self, user: str = "user") -> Iterator[Any]:
        act, self.between = self.between, None
        if act is not None:
            act()
        with super().begin(user) as work:
            yield work


class _World:
    """One database for all walks; each walk has a study and a kind of device of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.engine = open_engine(url)
        if url.startswith("sqlite"):
            event.listen(self.engine, "connect", self._hurry)
        prepare(self.engine)
        self.now = datetime(2026, 11, 24, tzinfo=UTC)
        self.store = Store(self.engine, self._tick)
        self.search = parse_template(TEMPLATE, "epochs: 4\n").to_problem()
        self.artifacts = ArtifactStore(folder / "artifacts")

    def _tick(self) -> datetime:
        """No two transactions at one moment: what waits longest is then plain."""
        self.now += timedelta(milliseconds=1)
        return self.now

    @staticmethod
    def _hurry(connection: sqlite3.Connection, _record: object) -> None:
        """Nobody cuts the power here: do not wait for the disk."""
        connection.execute("PRAGMA synchronous=OFF").close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(
    request: pytest.FixtureRequest, result: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder = tmp_path_factory.mktemp("walk")
    url = f"sqlite:///{folder}/walk.db"
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        postgres.run("CREATE DATABASE walk")
        url = postgres.url("walk")
    one = _World(folder, url)
    _Walk.world, _Walk.report = one, Result.from_json(result())
    yield one
    one.engine.dispose()


class _Walk(RuleBasedStateMachine):
    world: _World
    report: Result
    budget = Budget(trials=N_TRIALS)

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings(
            max_attempts=MAX_ATTEMPTS, retry_delay_s=0.0, lease_s=10.0, n_failures_to_pause=2
        )
        self.store = self.world.store
        self.kind = f"WALK{next(_numbers)}"
        self.crowded = _Crowded(self.world.engine, self.world._tick)
        self.steps = Steps(self.crowded, self.settings)
        self.given: list[tuple[str, str]] = []  # every device lease ever: id, token
        self.computing: list[str] = []  # every compute attempt ever
        self.answers: dict[str, Any] = {}  # version -> what a poll was answered
        self.study = ""
        wanted = BaselineIn(model="resnet20_cifar", dataset="digits")
        with self.store.begin() as work:
            self.baseline = lives.create_baseline(work, wanted).id
            known = [self._host(work, name) for name in ("a", "b")]
            self.hosts = [(one.id, one.device_ids["D"]) for one in known]
        self.begin_compute()
        self.end_compute(0, "succeed", "internal")
        spec = StudySpec(
            name="walk",
            baseline=self.baseline,
            device=self.kind,
            template=TEMPLATE,
            training="epochs: 4\n",
            budget=self.budget,
            parallel=2,
            constraints=["top1_drop <= 0.02"],
        )
        with self.store.begin() as work:
            self.study = lives.begin_study(work, spec, self.world.search).id

    @initialize(n_steps=st.sampled_from([6, 6, 6, 4, 2, 0]))
    def get_going(self, n_steps: int) -> None:
        """Begin somewhere along the way of a study in which all goes well."""
        steps: list[Callable[[], object]] = [
            lambda: self.ask(0),
            lambda: self.tell(0, "result", "gate", False),
            self.advance,
            self.begin_compute,
            lambda: self.end_compute(0, "succeed", "internal"),
            lambda: self.ask(1),
        ]
        for step in steps[:n_steps]:
            step()

    def _host(self, work: Any, name: str) -> Any:
        device = Device("D", self.kind, "A device", "openvino", "2026.0.0", ("f32",), 21, name)
        return leases.register(work, f"{self.kind}-{name}", "0.1.0", [device], self.settings)

    def _compute_stages(self, view: Any) -> list[str]:
        waiting = view.stages.waiting("compute", self.world.now, 10_000)
        return [
            stage.id
            for stage in waiting
            if stage.baseline_id == self.baseline or stage.study_id == self.study
        ]

    @rule(faster=st.sampled_from(["", "", "", "tell", "compress", "forgive", "cancel", "enqueue"]))
    def advance(self, faster: str = "") -> None:
        """Take the next step; perhaps somebody is faster than what it writes."""
        self.crowded.between = {
            "tell": lambda: self.given and self.tell(0, "result", "gate", False),
            "compress": lambda: self.computing and self.end_compute(0, "succeed", "internal"),
            "forgive": self.forgive,
            "cancel": lambda: self.decide(lives.cancel_study),
            "enqueue": self.enqueue,
        }.get(faster)
        self.steps.advance(self.study)
        self.crowded.between = None

    def forgive(self) -> None:
        self.decide(lives.pause_study)
        self.decide(lives.resume_study)

    @rule()
    def enqueue(self) -> None:
        try:
            with self.store.begin() as work:
                enqueue.enqueue(work, self.study, {"pruners.filters.final_sparsity": 0.5})
        except Conflict:
            pass  # its budget is spent, or it is over

    @rule()
    def begin_compute(self) -> None:
        with self.store.read() as view:
            waiting = self._compute_stages(view)
        if waiting:
            with self.store.begin() as work:
                stage = work.stages.stage(waiting[0])
                self.computing.append(attempts.start(work, stage, "compute", None).id)

    @precondition(lambda self: self.computing)
    @rule(
        i=st.integers(0, 100),
        how=st.sampled_from(["succeed", "fail", "lose", "release"]),
        failure_class=st.sampled_from([*COMPUTE_POLICIES, "diverged", *["store"] * 5]),
    )
    def end_compute(self, i: int, how: str, failure_class: str) -> None:
        attempt_id = self.computing[-1 - i % len(self.computing)]
        try:
            with self.store.begin() as work:
                attempt = work.stages.attempt(attempt_id)
                if how == "fail":
                    failure = StageFailure("compress", failure_class, "it was so")
                    attempts.fail(work, attempt, failure, self.settings)
                elif how == "lose":
                    attempts.lose(work, attempt, "it was so", self.settings)
                elif how == "release":
                    attempts.release(work, attempt, "it was so")
                else:
                    stage = attempts.succeed(work, attempt)
                    take = outcomes.trained if stage.kind == "train" else outcomes.compressed
                    take(work, stage, self._made(stage))
        except LeaseLost:
            pass  # refused: nothing may have changed, which the invariants check

    def _made(self, stage: StageRow) -> dict[str, Any]:
        names = ("weights", "onnx", "probe_inputs", "probe_outputs", "data_validation", "data_test")
        file = self.world.artifacts.put(stage.id.encode())
        stored = {"sha256": file.sha256, "n_bytes": file.n_bytes, "media_type": "text/plain"}
        metrics = {"validation_top1": 0.98, "params": 1, "macs": 1, "onnx_bytes": 1}
        return {"artifacts": dict.fromkeys(names, stored), "metrics": metrics, "details": {}}

    @rule(host=st.integers(0, 1))
    def ask(self, host: int) -> None:
        with self.store.begin() as work:
            leases.ask(work, *self.hosts[host], self.settings)
            lease = leases.claim(work, *self.hosts[host], self.settings)
        if lease is not None:
            self.given.append((lease.id, lease.token))

    @precondition(lambda self: self.given)
    @rule(
        i=st.integers(0, 100),
        how=st.sampled_from(["result", "result", "heartbeat", "failure", "release"]),
        failure_class=st.sampled_from([*DEVICE_POLICIES, *["gate"] * 12]),
        is_foreign=st.integers(0, 9).map(lambda n: n == 0),
    )
    def tell(self, i: int, how: str, failure_class: str, is_foreign: bool) -> None:
        lease_id, token = self.given[-1 - i % len(self.given)]
        token = "guessed" if is_foreign else token
        try:
            with self.store.begin() as work:
                match how:
                    case "result":
                        leases.result(work, lease_id, token, self.report)
                    case "heartbeat":
                        leases.heartbeat(work, lease_id, token, {}, self.settings)
                    case "failure":
                        failure = Failure(failure_class, "compile", "it was so")
                        leases.failure(work, lease_id, token, failure, self.settings)
                    case "release":
                        leases.release(work, lease_id, token)
        except LeaseLost:
            pass

    @rule(host=st.integers(0, 1), is_late_first=st.booleans())
    def hand_on(self, host: int, is_late_first: bool) -> None:
        """A host falls silent, the other takes over, and both report."""
        self.ask(host)
        n_given = len(self.given)
        self.wait(11)
        self.ask(1 - host)
        if n_given == 0 or len(self.given) == n_given:
            return  # nothing to do for either
        for i in [1, 0] if is_late_first else [0, 1]:
            self.tell(i, "result", "gate", False)
            self.nothing_is_lost_or_doubled()

    @rule(seconds=st.sampled_from([1, 6, 11]))
    def wait(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)
        with self.store.begin() as work:
            leases.expire(work, self.settings)

    @rule(what=st.sampled_from([lives.pause_study, lives.resume_study, lives.resume_study]))
    def decide(self, what: Any) -> None:
        try:
            with self.store.begin() as work:
                what(work, self.study)
        except IllegalTransition:
            pass  # a user may ask for what cannot be

    @rule(is_meant=st.integers(0, 7).map(lambda n: n == 0))
    def cancel(self, is_meant: bool) -> None:
        if is_meant:
            self.decide(lives.cancel_study)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        with Session(self.world.engine) as session:
            trials = list(session.scalars(select(TrialRow).where(TrialRow.study_id == self.study)))
            stages = list(session.scalars(select(StageRow).where(StageRow.study_id == self.study)))
            measured = list(
                session.scalars(select(MeasurementRow).where(MeasurementRow.study_id == self.study))
            )
            study = self.store_read_study()
            assert sorted(t.number for t in trials) == list(range(len(trials)))
            assert len(trials) <= N_TRIALS
            for stage in stages:
                tried = list(
                    session.scalars(select(AttemptRow).where(AttemptRow.stage_id == stage.id))
                )
                n_running = sum(a.state == AttemptState.RUNNING for a in tried)
                n_succeeded = sum(a.state == AttemptState.SUCCEEDED for a in tried)
                assert n_succeeded == (stage.state == StageState.DONE)
                assert n_running == (stage.state == StageState.RUNNING)
                assert stage.n_spent <= MAX_ATTEMPTS
                n_rows = sum(m.stage_id == stage.id for m in measured)
                assert n_rows == (stage.lane == "device" and stage.state == StageState.DONE)
            for trial in trials:
                own = [s for s in stages if s.trial_id == trial.id and s.kind != "final"]
                if is_final(trial.state):
                    assert all(is_final(s.state) for s in own)
                else:
                    assert sum(not is_final(s.state) for s in own) == 1
                assert (trial.is_feasible is not None) == (trial.state == TrialState.COMPLETE)
            if study.state in (StudyState.CANCELLED, StudyState.FINISHED):
                assert all(is_final(s.state) for s in stages)
                assert all(is_final(t.state) for t in trials)
            events = session.scalars(
                select(EventRow)
                .where(EventRow.study_id == self.study, EventRow.kind.in_(MOVED))
                .order_by(EventRow.id)
            )
            last: dict[str, str | None] = {}
            for line in events:
                assert line.before == last.get(line.subject), "the log has a gap"
                last[line.subject] = line.after
            for row in [study, *trials, *stages]:
                assert last[row.id] == row.state

    @invariant()
    def one_version_has_one_answer(self) -> None:
        """Who polls with a version's ETag would otherwise never hear of the other answer."""
        with self.store.read() as view:
            version = view.studies.version_of(self.study)
            answer = views.study(view, view.studies.named(self.study)).model_copy(
                update={"eta_s": None}  # a guess, which grows older with every second
            )
        assert self.answers.setdefault(version, answer) == answer

    @rule(priority=st.integers(-1, 1))
    def prefer(self, priority: int) -> None:
        try:
            with self.store.begin() as work:
                lives.set_priority(work, self.study, priority)
        except IllegalTransition:
            pass  # it is over

    def store_read_study(self) -> Any:
        with self.store.read() as view:
            return view.studies.named(self.study)


def _walk(n_walks: int, n_steps: int) -> None:
    chosen = settings(
        max_examples=n_walks,
        stateful_step_count=n_steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(_Walk, settings=chosen)


def test_reports_in_any_order_lose_and_double_nothing(world: Any) -> None:
    _walk(n_walks=7, n_steps=15)


@pytest.mark.slow  # some minutes: every step is a transaction that is synced to disk
def test_reports_in_any_order_lose_and_double_nothing_on_long_walks(world: Any) -> None:
    _walk(n_walks=100, n_steps=60)


class _Short(_Walk):
    budget = Budget(trials=N_TRIALS, wall_s=100.0)


def _one_trial(walk: _Walk) -> None:
    """Take a study through its first trial; the second of its two is still compressed."""
    walk.get_going(6)
    walk.tell(0, "result", "gate", False)
    walk.begin_compute()


def test_a_trial_enqueued_at_the_last_moment_keeps_its_study_open(world: Any) -> None:
    walk = _Short()
    _one_trial(walk)
    walk.end_compute(0, "succeed", "internal")
    walk.ask(1)
    walk.tell(0, "result", "gate", False)
    world.now += timedelta(seconds=200)  # its time is over, its trials are not all used
    walk.advance(faster="enqueue")
    with world.store.read() as view:
        assert [trial.number for trial in view.trials.open_of(walk.study)] == [2]
        assert not view.stages.of_study(walk.study, "confirm")
    walk.nothing_is_lost_or_doubled()
    walk.begin_compute()
    walk.end_compute(0, "succeed", "internal")
    walk.ask(1)
    walk.tell(0, "result", "gate", False)
    for _ in range(6):
        walk.advance()
        walk.ask(1)
        walk.tell(0, "result", "gate", False)
    assert walk.store_read_study().state == StudyState.FINISHED


def test_what_a_compute_worker_reports_after_it_was_given_up_is_not_done_again(world: Any) -> None:
    walk = _Walk()
    walk.get_going(4)
    walk.end_compute(0, "lose", "internal")
    with world.store.read() as view:
        assert [trial.state for trial in view.trials.open_of(walk.study)] == ["queued", "queued"]
    walk.end_compute(0, "succeed", "internal")
    walk.nothing_is_lost_or_doubled()
    with world.store.read() as view:
        states = sorted(trial.state for trial in view.trials.open_of(walk.study))
        assert states == ["compressed", "queued"]
        assert len(walk._compute_stages(view)) == 1  # the other trial's


def test_a_training_reported_after_its_worker_was_given_up_is_not_done_again(world: Any) -> None:
    walk = _Walk()
    wanted = BaselineIn(model="resnet20_cifar", dataset="digits")
    with world.store.begin() as work:
        walk.baseline = lives.create_baseline(work, wanted).id
    walk.begin_compute()
    walk.end_compute(0, "lose", "internal")
    walk.end_compute(0, "succeed", "internal")
    with world.store.read() as view:
        assert view.baselines.named(walk.baseline).state == "complete"
        assert not walk._compute_stages(view)


def test_failures_that_were_forgiven_just_now_pause_nothing(world: Any) -> None:
    walk = _Walk()
    walk.get_going(3)
    for _ in range(2):
        walk.begin_compute()
        walk.end_compute(0, "fail", "diverged")
    walk.advance(faster="forgive")
    assert walk.store_read_study().state == StudyState.RUNNING
    walk.nothing_is_lost_or_doubled()


def test_the_log_says_what_a_proposal_could_not_know(world: Any) -> None:
    walk = _Walk()
    _one_trial(walk)
    walk.advance(faster="compress")
    with world.store.read() as view:
        trials = view.trials.page(walk.study, 10, None)
        assert sorted(trial.state for trial in trials) == ["complete", "compressed", "queued"]
        assert view.log.events_of(trials[2].id)[0].reason == trials[2].origin
    walk = _Walk()
    _one_trial(walk)
    walk.end_compute(0, "succeed", "internal")
    walk.ask(1)
    with world.store.read() as view:
        (late,) = [trial.number for trial in view.trials.open_of(walk.study)]
    walk.advance(faster="tell")
    with world.store.read() as view:
        third = view.trials.page(walk.study, 10, None)[2]
        said = view.log.events_of(third.id)[0].reason
    assert said == f"{third.origin}, proposed before the end of trial {late} was known"


def test_why_a_study_ended_stands_longer_than_why_it_waited(world: Any) -> None:
    walk = _Walk()
    world.now += timedelta(seconds=3600)  # its hosts were not heard of for long
    crowded = _Crowded(world.engine, world._tick)

    def reject() -> None:
        with world.store.begin() as work:
            stage = work.stages.of_study(walk.study, "check")[0]
            attempts.cancel(work, stage, "server", "it was so")
            study = work.studies.named(walk.study)
            study.reason = "a reason of its own"
            work.move(study, StudyState.REJECTED, "server", study.reason)

    crowded.between = reject
    watchdog = Watchdog(crowded, walk.settings)
    watchdog.look(None, {}, {})
    assert crowded.between is None  # it had something to say
    assert walk.store_read_study().reason == "a reason of its own"


@pytest.mark.parametrize("policies", [COMPUTE_POLICIES, DEVICE_POLICIES])
def test_every_class_of_failure_says_what_to_do(policies: Any) -> None:
    assert all(policy.advice for policy in policies.values())


def test_every_class_of_failure_has_a_policy() -> None:
    errors = {one.failure_class for one in CompressionError.__subclasses__()}
    assert errors - {"cancelled"} <= set(COMPUTE_POLICIES)
    assert set(FAILURE_CLASSES) <= set(DEVICE_POLICIES)


def test_a_study_that_cannot_work_names_all_its_problems(world: Any) -> None:
    spec = StudySpec(
        name="x", baseline="bsl_0", device="X", template="a: 1", budget=Budget(trials=1)
    )
    with pytest.raises(Exception, match="baseline: no baseline") as refused:
        check_study(spec, None, set())
    assert "device: no device 'X'" in str(refused.value)
