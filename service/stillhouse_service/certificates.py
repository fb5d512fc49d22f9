"""Whether a certificate can still be used: signed by whom it should be, its key's, not run out.

Depends on: the standard library.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from stillhouse_service.errors import ComputeUnavailable


def proved_until(ca: str, cert: str, key: str) -> datetime:
    """Use a client's certificate once, in memory, as its server will.

    Args:
        ca: PEM file of who must have signed it.
        cert: The certificate, a PEM file.
        key: Its key.

    Returns:
        When it runs out.

    Raises:
        ComputeUnavailable: It is not good: run out, not yet good, another's, or no certificate.
    """
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(cert, key)  # any will do: its client does not look
        server.load_verify_locations(ca)
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.load_cert_chain(cert, key)
        shown = _shown_to(server, client)
    except ssl.SSLCertVerificationError as error:
        raise ComputeUnavailable(
            f"the certificate {cert} cannot be used: {error.verify_message}; renew it "
            "(STILLHOUSE_COMPUTE_CERT, STILLHOUSE_COMPUTE_KEY, STILLHOUSE_COMPUTE_CA)"
        ) from error
    except (ssl.SSLError, OSError) as error:
        raise ComputeUnavailable(f"the certificate {cert} cannot be read: {error}") from error
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def _shown_to(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """Shake hands in memory; give the client's certificate as its server took it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    return dict(ends[0].getpeercert() or {})
