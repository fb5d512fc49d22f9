"""Who waits holds nothing, and a thousand who wait for the same cost as much as one."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import pytest

from stillhouse_service.bell import Bell
from stillhouse_service.looks import Looks
from stillhouse_service.polls import Polls
from stillhouse_service.turns import Turns
from stillhouse_service.waiting_hosts import WaitingHosts


class _Page:
    """An application of one page that counts how often it is asked."""

    def __init__(self) -> None:
        self.text, self.n_asked = "1", 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.n_asked += 1
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.text.encode()})


async def _eventually(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.01)


def _in_loop(act: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await act()

    asyncio.run(run())


def _waiting(bell: Bell) -> int:
    return sum(len(events) for events in bell._waiting.values())


@pytest.mark.parametrize("path", ["/v1/studies/std_1", "/v1/devices"])
def test_a_hundred_that_wait_for_the_same_share_one_look(path: str) -> None:
    async def act() -> None:
        page, bell = _Page(), Bell()
        polls = Polls(page, bell, threading.Event())
        transport = httpx.ASGITransport(app=polls)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            etag = (await http.get(path)).headers["etag"]
            known = {"If-None-Match": etag}
            asked = [
                asyncio.create_task(http.get(path, params={"wait": 50}, headers=known))
                for _ in range(100)
            ]
            await _eventually(lambda: _waiting(bell) == 100)
            n_before = page.n_asked
            page.text = "2"
            bell.ring(["std_1"])
            answers = await asyncio.gather(*asked)
        assert {answer.text for answer in answers} == {"2"}
        assert page.n_asked == n_before + 1
        assert _waiting(bell) == 0

    _in_loop(act)


def test_a_hundred_that_missed_the_same_news_share_one_look() -> None:
    async def act() -> None:
        page, bell = _Page(), Bell()
        transport = httpx.ASGITransport(app=Polls(page, bell, threading.Event()))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            known = {"If-None-Match": (await http.get("/v1/devices")).headers["etag"]}
            page.text = "2"  # before they ask: nobody rings for them any more
            asked = (
                http.get("/v1/devices", params={"wait": 50}, headers=known) for _ in range(100)
            )
            answers = await asyncio.gather(*asked)
            assert {(one.status_code, one.text) for one in answers} == {(200, "2")}
            assert page.n_asked < 20  # each for itself: 101

    _in_loop(act)


def test_who_waits_for_one_study_is_not_woken_by_another() -> None:
    async def act() -> None:
        bell = Bell()
        one, other, any_ = bell.subscribe("std_1"), bell.subscribe("std_2"), bell.subscribe()
        bell.ring(["std_2"])
        await _eventually(other.is_set)
        assert any_.is_set()
        assert not one.is_set()
        bell.ring()
        await _eventually(one.is_set)
        assert _waiting(bell) == 0

    _in_loop(act)


def test_who_is_woken_sees_what_rang() -> None:
    """A look that had begun before the news is not shared with who was woken by it."""

    async def act() -> None:
        looks = Looks(0.0, 2)
        value, seen = ["old"], []
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            found = value[0]
            begun.set()
            await go_on.wait()
            return found

        first = asyncio.create_task(looks.look("key", slow))
        await begun.wait()
        value[0] = "new"
        second = asyncio.create_task(looks.look("key", slow))
        await asyncio.sleep(0)
        go_on.set()
        seen = [await first, await second]
        assert seen == ["old", "new"]

    _in_loop(act)


def test_one_who_hangs_up_takes_the_answer_from_nobody() -> None:
    async def act() -> None:
        looks = Looks(0.0, 1)
        go_on = asyncio.Event()

        async def slow() -> str:
            await go_on.wait()
            return "seen"

        first = asyncio.create_task(looks.look("key", slow))
        second = asyncio.create_task(looks.look("key", slow))
        await asyncio.sleep(0)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        go_on.set()
        assert await second == "seen"

    _in_loop(act)


def _are(hosts: WaitingHosts, n: int) -> bool:
    return len(hosts._hosts) == n


class _Jobs(WaitingHosts):
    """Hosts that wait for jobs of a list."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # it counts below, and needs no store
        self.jobs: dict[str, int] = {}
        self.n_looks = 0

    def _count(self) -> dict[str, int]:
        self.n_looks += 1
        return dict(self.jobs)


def test_as_many_hosts_are_woken_as_there_are_jobs_the_longest_waiting_first() -> None:
    async def act() -> None:
        hosts = _Jobs()
        woken: list[int] = []

        async def wait(number: int, *serves: str) -> None:
            if await hosts.wait(serves, 50.0, hosts.heard()):
                woken.append(number)
                hosts.jobs = {name: n - (name in serves) for name, n in hosts.jobs.items()}

        tasks = []
        for i in range(5):
            tasks.append(asyncio.create_task(wait(i, "CPU", f"dev_{i}")))
            await _eventually(partial(_are, hosts, i + 1))
        tasks.append(asyncio.create_task(wait(5, "MYRIAD")))
        await _eventually(lambda: len(hosts._hosts) == 6)
        hosts.jobs = {"CPU": 2, "dev_4": 1}
        hosts.ring()
        await _eventually(lambda: len(woken) >= 3)
        assert sorted(woken) == [0, 1, 4]
        assert len(hosts._hosts) == 3
        hosts.close()
        await asyncio.gather(*tasks)

    _in_loop(act)


def test_many_go_on_one_after_the_other_and_one_alone_at_once() -> None:
    async def act() -> None:
        turns, went = Turns(0.02), []

        async def go(number: int) -> None:
            await turns.take()
            went.append((number, time.monotonic()))

        await asyncio.gather(*(go(i) for i in range(10)))
        assert [number for number, _ in went] == list(range(10))
        assert went[-1][1] - went[0][1] > 8 * 0.02
        await asyncio.sleep(0.05)
        with pytest.raises(StopIteration):
            turns.take().send(None)  # it ends without having waited for anything

    _in_loop(act)


def test_a_job_that_came_between_the_look_and_the_wait_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nor left to the look that comes round by itself.
    monkeypatch.setattr("stillhouse_service.waiting_hosts._LOOK_AGAIN_S", 600.0)

    async def act() -> None:
        hosts = _Jobs()
        heard = hosts.heard()
        hosts.jobs = {"CPU": 1}
        hosts.ring()
        assert await hosts.wait(["CPU"], 20.0, heard)

    _in_loop(act)


def test_a_few_that_wait_are_woken_for_any_new_job_and_nobody_looks_whose_it_is() -> None:
    async def act() -> None:
        hosts = _Jobs()
        waits = [asyncio.create_task(hosts.wait([name], 50.0, 0)) for name in ("CPU", "MYRIAD")]
        await _eventually(partial(_are, hosts, 2))
        n_looks = hosts.n_looks
        hosts.ring()
        assert await asyncio.gather(*waits) == [True, True]
        assert hosts.n_looks <= n_looks + 1  # the one that is due each second

    _in_loop(act)


def test_who_waits_holds_neither_a_thread_nor_a_connection(server: Any, connect: Any) -> None:
    study = server.study()
    host = connect(server)
    host.measure(host.lease())  # the baseline's check: the study runs
    server.http.post(f"/v1/studies/{study}/pause").raise_for_status()
    path = f"/v1/studies/{study}"
    n_threads = threading.active_count()

    async def act() -> None:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
            known = {"If-None-Match": (await http.get(path)).headers["etag"]}

            async def listen() -> None:
                async with http.stream("GET", f"{path}/events/stream") as answer:
                    async for _ in answer.aiter_lines():
                        pass

            async def poll() -> None:
                await http.get(path, params={"wait": 50}, headers=known)

            tasks = [asyncio.create_task(act()) for act in (listen, poll) for _ in range(60)]
            bell = server.app.state.news_bell
            await _eventually(lambda: len(bell._waiting.get(study, ())) == 120)
            pool = server.app.state.engine.pool
            await _eventually(lambda: pool.checkedout() == 0)
            # The thread pool's own, which are idle, are as many as worked at once: never 120.
            assert threading.active_count() < n_threads + 60
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(act())
