"""Which addresses the server may call for somebody else: those of the public internet.

Depends on: the standard library. A webhook's address is given by a user; without this, it would
let them reach whatever the server's network trusts (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from stillhouse_service.errors import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def networks(text: str) -> tuple[Network, ...]:
    """Read `10.0.0.0/8,127.0.0.0/8`."""
    return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())


def is_allowed(address: Address, also: Sequence[Network] = ()) -> bool:
    """Tell whether an address is of the public internet, or of a network that is allowed too."""
    inner = _inner(address)
    if any(inner in network for network in also if network.version == inner.version):
        return True
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def resolve(host: str, port: int, also: Sequence[Network] = ()) -> str:
    """Give an address of `host` that may be called; call that and not the name, which may change.

    Raises:
        AddressRefused: The name has no address, or any of its addresses may not be called.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"{host} has no address: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for text in addresses:
        if not is_allowed(ipaddress.ip_address(text.partition("%")[0]), also):
            raise AddressRefused(
                f"{host} is {text}, which is not of the public internet; this server calls no "
                "other address, unless its setting WEBHOOK_NETWORKS names the network"
            )
    return addresses[0]


def _inner(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
