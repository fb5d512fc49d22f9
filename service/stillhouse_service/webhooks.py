"""What administrators do with webhooks: make one, end one.

Depends on: the store.
"""

from __future__ import annotations

import secrets
from urllib.parse import SplitResult, urlsplit

from stillhouse_service import addresses
from stillhouse_service.errors import AddressRefused, Problem, SpecRejected
from stillhouse_service.ids import new_id
from stillhouse_service.schemas import WebhookIn
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import WebhookRow


def create(store: Store, user: str, wanted: WebhookIn, networks: str) -> WebhookRow:
    """Make a webhook that is told of every event from now on.

    Args:
        store: Where it will stand.
        user: Who asked for it, for the log.
        wanted: Its address and what it is told of.
        networks: The server's setting `webhook_networks`.

    Raises:
        SpecRejected: The address cannot be called, or the study is not there.
    """
    try:
        check_url(wanted.url, networks)  # asks a name server: outside of any transaction
    except AddressRefused as error:
        raise SpecRejected([Problem("url", str(error))]) from error
    with store.begin(user) as work:
        return _create(work, wanted)


def _create(work: UnitOfWork, wanted: WebhookIn) -> WebhookRow:
    if wanted.study is not None and work.studies.find(wanted.study) is None:
        raise SpecRejected([Problem("study", f"no study {wanted.study!r}")])
    webhook_id = new_id("whk")
    work.audit(webhook_id, "webhook", after="live", reason=urlsplit(wanted.url).hostname)
    work.log.write_events()  # its own making is no news to it
    row = WebhookRow(
        id=webhook_id,
        url=wanted.url,
        secret=secrets.token_urlsafe(32),
        kinds=list(wanted.kinds),
        study_id=wanted.study,
        made_by=work.user,
        after_event=work.webhooks.last_event(),
        created_at=work.now,
        ended_at=None,
    )
    work.webhooks.add(row)
    work.topics.add("webhooks")
    return row


def end(work: UnitOfWork, webhook_id: str) -> WebhookRow:
    """Tell a webhook nothing more; ending it again changes nothing.

    Raises:
        NotFound: No such webhook.
    """
    row = work.webhooks.named(webhook_id)
    if row.ended_at is None:
        row.ended_at = work.now
        work.audit(row.id, "webhook", before="live", after="ended")
    return row


def check_url(url: str, networks: str) -> tuple[SplitResult, str]:
    """Give a webhook's address, taken apart, and the IP address to call.

    Raises:
        AddressRefused: It is none that this server calls.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(f"{url!r:.100} is no address: {error}") from error
    if parts.scheme not in ("https", "http") or not host or parts.username is not None:
        raise AddressRefused(f"wanted an address like https://example.org/path, got {url!r:.100}")
    if any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise AddressRefused(f"{url!r:.100} holds a blank or a control character")
    usual = 443 if parts.scheme == "https" else 80
    allowed = addresses.networks(networks)
    return parts, addresses.resolve(host, usual if port is None else port, allowed)
