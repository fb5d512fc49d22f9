"""Requests to one server: connection errors tried again, refusals as exceptions.

Depends on: httpx.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx

from stillhouse.errors import ConnectionFailed, Problem, ProblemError, UnexpectedAnswer

Params = Mapping[str, str | int | bool | Sequence[str]]
_LONGEST_PAUSE_S = 60.0


class Transport:
    """One server, spoken to over HTTP.

    Every request is tried again when the connection fails: an order carries an `Idempotency-Key`,
    by which the server does it once however often it arrives. Where it is asked too often (429), it
    is left alone for as long as it says.
    """

    def __init__(
        self,
        http: httpx.Client,
        n_retries: int = 3,
        first_pause_s: float = 0.2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Wrap `http`, whose base URL is the server's.

        Args:
            http: Sends the requests.
            n_retries: Tries after the first one.
            first_pause_s: Wait before the first of them; doubled for each further one.
            sleep: Waits so many seconds.
        """
        self._http = http
        self._n_retries = n_retries
        self._first_pause_s = first_pause_s
        self._sleep = sleep

    def get(self, path: str, params: Params | None = None) -> Any:
        """Ask for JSON.

        Raises:
            ConnectionFailed: Nobody answered, at any try.
            ProblemError: The server refused.
            UnexpectedAnswer: The answer is no JSON.
        """
        return _json(self._request("GET", path, params=params))

    def get_made(self, path: str, params: Params | None = None) -> httpx.Response:
        """Ask for what may take long: waits for the operation behind a 202; errors as in `get`.

        Raises:
            UnexpectedAnswer: The operation failed.
        """
        answer = self._request("GET", path, params=params)
        if answer.status_code != httpx.codes.ACCEPTED:
            return answer
        at, pause_s = str(_json(answer).get("id", "")), self._first_pause_s
        while True:
            now = self.get(f"/v1/operations/{at}")
            if now["state"] == "done":
                return self._request("GET", str(now["result"]))
            if now["state"] == "failed":
                raise UnexpectedAnswer(f"GET {path}: {now['error']}")
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)

    def get_made_json(self, path: str) -> Any:
        """Ask for JSON that may take long to make; errors as in `get_made`."""
        return _json(self.get_made(path))

    def get_bytes(self, path: str, params: Params | None = None) -> bytes:
        """Ask for a file; errors as in `get`."""
        return self._request("GET", path, params=params).content

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON, get JSON; errors as in `get`.

        Args:
            path: From the server's root.
            body: Anything JSON can say, or None for no body.
        """
        key = {"Idempotency-Key": uuid4().hex}
        return _json(self._request("POST", path, body=body, headers=key))

    def pages(self, path: str, params: Params | None = None) -> Iterator[Any]:
        """Give the items of every page, in the server's order; errors as in `get`."""
        token: str | None = None
        while True:
            asked = {**(params or {}), **({"page_token": token} if token else {})}
            page = self.get(path, asked)
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise UnexpectedAnswer(f"GET {path} answered without a list of items")
            yield from page["items"]
            token = page.get("next_page_token")
            if not token:
                return

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """Give the bytes of an answer in pieces; not tried again once it has begun."""
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    _refuse(answer)
                yield answer.iter_bytes()
        except httpx.TransportError as error:
            raise self._failed(error) from error

    def _request(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        pause_s = self._first_pause_s
        for n_left in range(self._n_retries, -1, -1):
            try:
                answer = self._http.request(method, path, params=params, json=body, headers=headers)
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS or n_left == 0:
                    break
                pause_s = max(pause_s, _asked_pause_s(answer))
            except httpx.TransportError as error:
                if n_left == 0:
                    raise self._failed(error) from error
            self._sleep(pause_s)
            pause_s *= 2
        if answer.is_error:
            _refuse(answer)
        return answer

    def _failed(self, error: httpx.TransportError) -> ConnectionFailed:
        reason = str(error) or type(error).__name__
        return ConnectionFailed(f"no answer from {self._http.base_url}: {reason}")


def _asked_pause_s(answer: httpx.Response) -> float:
    """Seconds that a server which is asked too often wants to be left alone."""
    said = answer.headers.get("Retry-After", "")
    return min(float(said), _LONGEST_PAUSE_S) if said.isascii() and said.isdigit() else 0.0


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        where = f"{answer.request.method} {answer.request.url}"
        raise UnexpectedAnswer(
            f"{where} answered {answer.status_code} without JSON; is this a Stillhouse server?"
        ) from error


def _refuse(answer: httpx.Response) -> None:
    """Raise the refusal that `answer` carries, whatever its form."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"{answer.status_code} {answer.reason_phrase} from {answer.url}"}
    listed = document.get("problems")
    problems = [
        Problem(str(item.get("path", "")), str(item.get("message", "")))
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict)
    ]
    raise ProblemError(
        status=answer.status_code,
        kind=str(document.get("type", "about:blank")),
        title=str(document.get("title", answer.reason_phrase)),
        detail=str(document.get("detail", "")),
        problems=problems,
    )
