"""The study page with 10,000 trials in a real Chromium: first paint, updates, what is read.

Depends on: playwright and a Chromium on PATH, the service; tests/shared for made-up studies. The
browser and the server share the machine.

``STILLHOUSE_BENCH_QUICK=1`` takes a tenth of the trials, to see that it runs.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from record import Cell, record
from sqlalchemy import event, insert, update

from stillhouse_service import attempts, lives, outcomes
from stillhouse_service.app import build_app
from stillhouse_service.schemas import BaselineIn
from stillhouse_service.settings import Settings
from stillhouse_service.states import TrialState
from stillhouse_service.tables import EventRow, StudyRow, TrialRow

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from made_up_study import MadeUp

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
N_TRIALS = 1000 if QUICK else 10_000
N_PAINTS = 3 if QUICK else 9
N_UPDATES = 5 if QUICK else 30
N_REAL = 40
N_EVENTS = 8  # of a trial
_OPTIONS = ["--disable-gpu", "--disable-quic", "--disable-background-networking"]
_OPTIONS += ["--disable-component-update", "--disable-sync"]
# When the plots stand, counted from the navigation's start; noted by the page itself.
_WATCH = """
window.drawnAt = 0;
new MutationObserver(() => {
  if (!window.drawnAt && document.querySelector(".mark"))
    requestAnimationFrame(() => setTimeout(() => { window.drawnAt = performance.now(); }, 0));
}).observe(document, { childList: true, subtree: true });
"""
# What the cards say, and when it had been drawn.
_SHOWN = """
window.shown = "";
new MutationObserver(() => requestAnimationFrame(() => {
  const now = document.querySelector(".cards").textContent;
  if (now === window.shown) return;
  setTimeout(() => { window.shownAt = Date.now(); window.shown = now; }, 0);
})).observe(document.querySelector("main"), { childList: true, subtree: true });
"""


def main() -> None:
    """All figures; writes ``results/page.json``."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no chromium on PATH (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        options = [*_OPTIONS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        with _served(Path(name)) as (address, app):
            study = _fill(app)
            page = f"{address}/studies/{study}"
            reads = _Reads()
            paints = [_paint(browser, page) for _ in range(1 + N_PAINTS)][1:]
            n_before = reads.n
            _paint(browser, page)
            n_first = reads.n - n_before
            updates, n_update = _updates(browser, page, study, app, reads)
        browser.close()
    rows: list[list[Cell]] = [
        ["first paint, ms", len(paints), *_summary([p[0] for p in paints]), 1000],
        ["plots drawn, ms", len(paints), *_summary([p[1] for p in paints]), 1000],
        ["update, ms", len(updates), *_summary(updates), 100],
        ["rows of trials read to open it", 1, n_first, None, None],
        ["rows of trials read for one update", len(n_update), *_summary(n_update), None],
    ]
    columns = ("what", "n", "p50", "p95", "wanted below")
    figures = {"n_trials": N_TRIALS, "is_quick": QUICK, "paints_ms": paints, "updates_ms": updates}
    record("page", {"large": (columns, rows)}, figures)


def _fill(app: Any) -> str:
    """A study of forty trials as they really end, then copies of one of them, with their events."""
    store, artifacts, settings = app.state.store, app.state.artifacts, app.state.settings
    with store.begin() as work:
        baseline = lives.create_baseline(work, BaselineIn(model="resnet20_cifar", dataset="digits"))
        (stage,) = work.stages.waiting("compute", work.now, 1)
        attempts.succeed(work, attempts.start(work, stage, "bench", None))
        file = vars(artifacts.put(b"made up"))
        names = ("weights", "onnx", "probe_inputs", "probe_outputs", "data_validation", "data_test")
        metrics = {"validation_top1": 0.98, "params": 1, "macs": 1, "onnx_bytes": 1}
        made = {"artifacts": dict.fromkeys(names, file), "metrics": metrics, "details": {}}
        outcomes.trained(work, stage, made)
        baseline_id = baseline.id
    study = MadeUp(store, artifacts, settings, baseline_id).study("large", N_REAL)
    chance = random.Random(1)
    with store.read() as view:
        every = view.trials.own_of(study)
        whole = [_columns(one) for one in every if one.state == TrialState.COMPLETE]
        spec = dict(view.studies.named(study).spec)
    spec["budget"] = {**spec["budget"], "trials": 2 * N_TRIALS}
    with app.state.engine.begin() as connection:
        connection.execute(update(StudyRow).where(StudyRow.id == study).values(spec=spec))
        for start in range(0, N_TRIALS, 1000):
            numbers = range(max(N_REAL, start), start + 1000)
            rows = [_copy(chance.choice(whole), number, chance) for number in numbers]
            connection.execute(insert(TrialRow), rows)
            events = [_event(study, row["id"], row["finished_at"]) for row in rows] * N_EVENTS
            connection.execute(insert(EventRow), events)
    return study


def _columns(trial: TrialRow) -> dict[str, Any]:
    return {one.name: getattr(trial, one.name) for one in TrialRow.__table__.columns}


def _copy(row: dict[str, Any], number: int, chance: random.Random) -> dict[str, Any]:
    """A trial like another, its figures a little worse than the study's best."""
    ratio = chance.uniform(0.62, 1.0)
    ends = {"latency_ratio_low": 0.98 * ratio, "latency_ratio_high": 1.02 * ratio}
    metrics = {**row["metrics"], "latency_ratio": ratio, **ends}
    return row | {"id": f"trl_{number:016x}", "number": number, "metrics": metrics}


def _event(study: str, trial: str, at: Any) -> dict[str, Any]:
    moved = {"kind": "state", "who": "bench", "before": "queued", "after": "complete"}
    return {"at": at, "study_id": study, "subject": trial, "reason": None, **moved}


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, Any]]:
    settings = Settings(
        database_url=f"sqlite:///{folder}/bench.db",
        artifact_dir=folder / "artifacts",
        compute="none",
        lock_dir=str(folder / "lock"),
    )
    app = build_app(settings)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
        finally:
            server.should_exit = True
            thread.join(timeout=30)


class _Reads:
    """Counts the trials that the server makes of database rows."""

    def __init__(self) -> None:
        self.n = 0
        event.listen(TrialRow, "load", self._loaded)

    def _loaded(self, *_: object) -> None:
        self.n += 1


def _paint(browser: Browser, address: str) -> tuple[float, float]:
    """Open the study from an empty cache: ms until something is painted, and until the plots."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(_WATCH)
    page.goto(address)
    _wait(page, lambda: page.evaluate("window.drawnAt") > 0)
    first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    drawn = page.evaluate("window.drawnAt")
    context.close()
    return float(first), float(drawn)


def _updates(
    browser: Browser, address: str, study: str, app: Any, reads: _Reads
) -> tuple[list[float], list[float]]:
    """End trials one by one; ms from each commit until the page has drawn it, and rows read."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address)
    page.locator(".live.live", has_text="live").wait_for(timeout=60_000)
    page.evaluate(_SHOWN)
    chance = random.Random(2)
    with app.state.store.read() as view:
        like = _columns(view.trials.detailed(f"trl_{N_TRIALS - 1:016x}"))
    times, rows = [], []
    for number in range(N_TRIALS, N_TRIALS + N_UPDATES):
        page.wait_for_timeout(300 + 100 * chance.random())
        n_before = reads.n
        with app.state.store.begin() as work:
            row = TrialRow(**_copy(like, number, chance))
            work.trials.add(row)
            work.note(row, "bench", before="benchmarking", after="complete")
        committed_ms = time.time() * 1e3
        text = f"{number + 1} of"
        _wait(page, partial(_says, page, text))
        times.append(float(page.evaluate("window.shownAt")) - committed_ms)
        rows.append(float(reads.n - n_before))
    context.close()
    return times, rows


def _says(page: Page, text: str) -> bool:
    return text in page.evaluate("window.shown")


def _wait(page: Page, is_so: Callable[[], bool]) -> None:
    """Look again and again; the page's policy lets no text be run as a script, to wait inside."""
    deadline = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit("the page has not drawn what was waited for within a minute")
        page.wait_for_timeout(10)


def _summary(values: list[float]) -> list[float]:
    ranked = sorted(values)
    return [statistics.median(ranked), ranked[int(0.95 * (len(ranked) - 1))]]


if __name__ == "__main__":
    main()
