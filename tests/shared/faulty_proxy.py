"""A network that is not to be relied on: an HTTP proxy that doubles requests or loses answers."""

import http.client
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to one server; its faults are drawn from a seed.

    Attributes:
        url: Where it listens.
        n_doubled: POSTs sent twice so far.
        n_lost: Answers lost so far: the server has done what was asked, and nobody hears of it.
    """

    daemon_threads = True

    def __init__(
        self, target: str, seed: int, doubles_posts: bool = False, loss: float = 0.0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.target = urlsplit(target).netloc
        self.doubles_posts, self.loss = doubles_posts, loss
        self.n_doubled = self.n_lost = 0
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def draws(self, chance: float) -> bool:
        """Tell whether something of this chance happens now."""
        with self._lock:
            return self._chance.random() < chance

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
        self._thread.join(timeout=10)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self._send(body)
        if self.command == "POST" and self.server.doubles_posts:
            again = self._send(body)
            self.server.n_doubled += 1
            answer = again if self.server.draws(0.5) else answer  # either may come last
        if self.server.draws(self.server.loss):
            self.server.n_lost += 1
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
