"""Tells webhooks of events: signed, in order, tried again; one thread, on the server that drives.

Depends on: the store, leadership, httpx. An event is written down for a webhook before it is sent,
so that a server killed in between sends it once more rather than never.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import timedelta
from urllib.parse import urlunsplit

import httpx
from sqlalchemy.exc import InterfaceError, OperationalError

from stillhouse.signature import HEADER, sign
from stillhouse_service import views
from stillhouse_service.errors import AddressRefused, Deposed
from stillhouse_service.leadership import Leadership
from stillhouse_service.repositories.webhooks import DELIVERED, GIVEN_UP, WAITING
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store
from stillhouse_service.tables import DeliveryRow, WebhookRow
from stillhouse_service.webhooks import check_url

_log = logging.getLogger(__name__)
_TICK_S = 0.5
_BREATH_S = 0.05  # commits come in bursts
_TIMEOUT_S = 10.0
_LONGEST_PAUSE_S = 3600.0
_N_AT_ONCE = 200
_KEPT = timedelta(days=30)
_IDLE_S = 60.0
_STANDBY_S = 1.0  # while another server tells them


class Deliverer:
    """The thread that tells webhooks."""

    def __init__(self, store: Store, settings: Settings, leadership: Leadership) -> None:
        self._store = store.fenced(leadership.fence)
        self._leadership = leadership
        self._settings = settings
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._has_webhooks = True  # until looked
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)
        self._http: httpx.Client | None = None  # reading the certificates takes a while

    def start(self) -> None:
        """Go on where the last server stopped."""
        self._thread.start()

    def stop(self) -> None:
        """End; what waits is sent by the next server."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=_TIMEOUT_S + 5)
        if self._http is not None:
            self._http.close()

    def wake(self, is_new_webhook: bool = False) -> None:
        """Look at once: something was written. Where nobody is to be told, this costs nothing."""
        if self._has_webhooks or is_new_webhook:
            self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            rest_s = _IDLE_S
            try:
                rest_s = self._pass() if self._leadership.leads else _STANDBY_S
            except Deposed:
                rest_s = _STANDBY_S
            except (OperationalError, InterfaceError) as error:
                _log.error("deliverer: no database: %s", error.orig)
                rest_s = _TICK_S
            except Exception:
                # A bug must not end the deliveries of every webhook for good.
                _log.exception("deliverer: failed; next try in 5 s")
                self._stop.wait(5.0)
            if self._wake.wait(rest_s):
                self._stop.wait(_BREATH_S)

    def _pass(self) -> float:
        """Write down what is new, send what is due; give how long nothing will be to do."""
        with self._store.read() as view:
            hooks = view.webhooks.live()
            last = view.webhooks.last_event() if hooks else 0
        self._has_webhooks = bool(hooks)
        if not hooks:
            return _IDLE_S
        if any(hook.after_event < last for hook in hooks):
            self._write_down()
        for hook in hooks:
            self._send_due(hook)
        with self._store.read() as view:
            next_at, last = view.webhooks.next_at(), view.webhooks.last_event()
            is_behind = any(hook.after_event < last for hook in view.webhooks.live())
        if is_behind:
            return 0.0
        if next_at is None:
            return _IDLE_S
        return min(_IDLE_S, max(0.0, (next_at - view.now).total_seconds()))

    def _write_down(self) -> None:
        """Make deliveries of the events that no webhook has been given yet."""
        with self._store.begin("deliverer") as work:
            for hook in work.webhooks.live():
                for event in work.log.events(_N_AT_ONCE, hook.after_event):
                    hook.after_event = event.id
                    is_wanted = not hook.kinds or event.kind in hook.kinds
                    if not is_wanted or hook.study_id not in (None, event.study_id):
                        continue
                    work.webhooks.add(
                        DeliveryRow(
                            webhook_id=hook.id,
                            event_id=event.id,
                            state=WAITING,
                            n_tries=0,
                            next_at=work.now,
                            status=None,
                            error=None,
                            created_at=work.now,
                            finished_at=None,
                        )
                    )
            work.webhooks.forget_before(work.now - _KEPT)

    def _send_due(self, hook: WebhookRow) -> None:
        """Send what is due to one webhook, until it fails: its messages come in order."""
        with self._store.read() as view:
            due = [row.id for row in view.webhooks.due(hook.id, view.now, _N_AT_ONCE)]
        for delivery_id in due:
            if self._stop.is_set():
                return
            with self._store.read() as view:
                number = view.webhooks.delivery(delivery_id).event_id
                event = views.event(view.webhooks.event(number)).model_dump(mode="json")
            message = {"webhook": hook.id, "delivery": delivery_id, "event": event}
            status, error = self._send(hook, json.dumps(message).encode())
            with self._store.begin("deliverer") as work:
                row = work.webhooks.delivery(delivery_id)
                row.n_tries += 1
                row.status, row.error = status, error
                if error is None:
                    row.state, row.finished_at = DELIVERED, work.now
                elif row.n_tries >= self._settings.webhook_tries:
                    row.state, row.finished_at = GIVEN_UP, work.now
                else:
                    pause_s = self._settings.webhook_retry_s * 2 ** (row.n_tries - 1)
                    row.next_at = work.now + timedelta(seconds=min(pause_s, _LONGEST_PAUSE_S))
            if error is not None:
                return

    def _send(self, hook: WebhookRow, body: bytes) -> tuple[int | None, str | None]:
        """Post one message; give the answer's status and what went wrong."""
        try:
            parts, address = check_url(hook.url, self._settings.webhook_networks)
        except AddressRefused as error:
            return None, str(error)
        # The address that was looked at is called, whatever the name means a moment later.
        host = f"[{address}]" if ":" in address else address
        port = "" if parts.port is None else f":{parts.port}"
        url = urlunsplit((parts.scheme, host + port, parts.path or "/", parts.query, ""))
        name = parts.hostname or ""
        headers = {
            "Host": (f"[{name}]" if ":" in name else name) + port,
            "Content-Type": "application/json",
            "User-Agent": "stillhouse",
            HEADER: sign(hook.secret, body, int(time.time())),
        }
        if self._http is None:
            # No proxy and no netrc of the server's environment: the address we looked at is called.
            self._http = httpx.Client(timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False)
        extensions = {"sni_hostname": name} if parts.scheme == "https" else {}
        try:
            with self._http.stream(
                "POST", url, content=body, headers=headers, extensions=extensions
            ) as answer:  # its body is nobody's business
                if answer.is_success:
                    return answer.status_code, None
                what = "redirects are not followed" if answer.is_redirect else "wanted 200 to 299"
                return answer.status_code, f"answered {answer.status_code}; {what}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, f"{type(error).__name__}: {error}"
