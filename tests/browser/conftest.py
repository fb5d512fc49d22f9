"""A real Chromium on a real server; compute and device hosts are the service tests' scripted."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from made_up_study import MadeUp, detailed
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState

ROOT = Path(__file__).parents[2]
_QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAILING = (
    "5 of the last 6 trials failed as 'diverged' (trial 5: the loss is not a number in epoch 2): "
    "lower the learning rate's range, or prune more slowly; then resume"
)
REJECTED = "the baseline on CPU: layer fc: not enough memory for its weights"


def _parties() -> Any:
    path = ROOT / "tests" / "service" / "conftest.py"
    spec = importlib.util.spec_from_file_location("service_parties", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARTIES = _parties()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; skips loudly without one, fails where STILLHOUSE_REQUIRE names it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        why = "no chromium on PATH: the page is not tested (Debian: apt-get install chromium)"
        if "chromium" in os.environ.get("STILLHOUSE_REQUIRE", "").split(","):
            pytest.fail(why)
        pytest.skip(why)
    return found


@pytest.fixture(scope="module")  # its event loop would be in the way of other modules' tests
def browser(chromium: str) -> Iterator[Browser]:
    options = [*_QUIET, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=options)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open an address in a browser of its own; whatever it complains of or asks elsewhere fails."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_at(
        url: str, is_expected: Callable[[str], bool] = lambda _: False, **more: Any
    ) -> Page:
        chosen: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"}
        context = browser.new_context(**(chosen | more))
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        home = urlsplit(url).netloc

        def said(kind: str, text: str) -> None:
            if not is_expected(text):
                complaints.append(f"{kind}: {text}")

        page.on(
            "console",
            lambda one: said("console", one.text) if one.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: said("script", str(error)))
        page.on(
            "request",
            lambda one: (
                None
                if urlsplit(one.url).netloc == home or one.url.startswith("blob:")
                else said("foreign request", one.url)
            ),
        )
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Any]:
    """A server of its own."""
    yield from _served(tmp_path)


def _served(folder: Path) -> Iterator[Any]:
    settings = Settings(
        database_url=f"sqlite:///{folder}/stillhouse.db",
        artifact_dir=folder / "artifacts",
        compute="none",
        n_threads=1,
        retry_delay_s=0.0,
        lock_dir=str(folder / "lock"),
    )
    server = PARTIES.Server(settings)
    plain = server._compressed
    server._compressed = lambda order: detailed(plain(order))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Gallery"]:
    """A server with a study of thirty trials, as real ones end: nobody changes it."""
    for server in _served(tmp_path_factory.mktemp("gallery")):
        yield Gallery(server)


class Gallery:
    """A study of thirty trials, as real ones end, and others in every kind of trouble."""

    def __init__(self, server: Any) -> None:
        self.server, self.url = server, server.url
        PARTIES.Host(server).http.close()  # a device that has nothing to do
        write = MadeUp(server.store, server.artifacts, server.settings, server.baseline()).study
        self.study = write("ResNet-20 on digits", 30)
        self.two = write("Two trials", 2)
        self.infeasible = write("All break the limit", 12, extra_drop=0.2)
        self.failing = write("Nothing works", 6, is_failing=True, reason=FAILING)
        self.empty = write("No trial", 0, after=StudyState.CANCELLED, reason=None)
        self.rejected = write("Too large", 0, after=StudyState.REJECTED, reason=REJECTED)
        self.best = server.get(f"/v1/studies/{self.study}")["incumbent"]["trial_id"]


class Player:
    """Plays compute and device, one job at a time."""

    def __init__(self, server: Any, host: Any, ratios: list[float]) -> None:
        self.server, self.host = server, host
        self._left, self._told = iter(ratios), dict[str, float]()

    def play(self, n_jobs: int) -> None:
        """Do the next jobs of the device, and whatever compute has to do before each."""
        while n_jobs > 0:
            n_jobs -= self._one()

    def _one(self) -> bool:
        self.server.compute_all()
        answer = self.host.ask(wait_s=0.2)
        if answer.status_code != 200:
            return False
        lease = answer.json()
        job = lease["job"]
        key = job["candidate"]["sha256"]
        if key not in self._told:
            is_check = key == job["baseline"]["sha256"]
            self._told[key] = 1.0 if is_check else next(self._left)
        assert self.host.measure(lease, self._told[key]).status_code == 204
        return True

    def until_over(self, study: str) -> None:
        """Play until a study is over."""
        while self.server.get(f"/v1/studies/{study}")["state"] != "finished":
            self._one()


@pytest.fixture
def play() -> type[Player]:
    """Play compute and device: `play(server, host, ratios of the trials)`."""
    return Player


@pytest.fixture
def connect() -> Iterator[Callable[[Any], Any]]:
    """Start a scripted device host."""
    hosts: list[Any] = []

    def start(server: Any) -> Any:
        hosts.append(PARTIES.Host(server))
        return hosts[-1]

    yield start
    for one in hosts:
        one.http.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures are kept for who wants to look at them."""
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
