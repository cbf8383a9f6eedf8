"""Which IP addresses are on the public internet, however they are written. Pure: nothing is looked up.

The tables are written out, since what `ipaddress` calls global differs between releases of Python.  It is asked too.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError

_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers' customers; Alibaba's metadata server
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host to each of its machines: an address that looks public
        "169.254.0.0/16",  # link-local; most clouds' metadata servers
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata server
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, no longer in use
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
"""IANA's IPv4 Special-Purpose Address Registry, multicast, and a cloud's own."""

_UNICAST_V6 = IPv6Network("2000::/3")
"""All that IANA has given out as global unicast. Loopback, `fc00::/7` (private; AWS's metadata server), link-local,
multicast and IPv4-compatible addresses are outside of it."""

_SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo (which carries an IPv4 address), benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries an IPv4 address and is no longer in use
        "3fff::/20",  # documentation
    )
)
"""IANA's IPv6 Special-Purpose Address Registry, as far as it lies in `_UNICAST_V6`."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address in its last 32 bits (RFC 6052): how an IPv6-only network reaches all of them."""

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PARTS = 4
_BYTE = 0xFF


def is_forbidden(address: str) -> bool:
    """Whether an address is not one of the public internet.

    Forbidden are private, loopback, link-local, shared, multicast, reserved and unspecified addresses, the metadata
    servers of clouds, and what carries such an IPv4 address.

    Args:
        address: IPv4 or IPv6, as `socket.getaddrinfo` gives it. What is neither is forbidden.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return True
    if isinstance(found, IPv6Address):
        inner = _carried(found)
        if inner is None:
            special = found not in _UNICAST_V6 or any(found in network for network in _SPECIAL_V6)
            return special or found.scope_id is not None or not found.is_global
        found = inner
    return any(found in network for network in _SPECIAL_V4) or not found.is_global


def check_address(address: str, host: str) -> None:
    """Refuse an address that is not one of the public internet.

    Args:
        address: As for `is_forbidden`. It is not shown: what a name of a private network stands for is not to be told.
        host: The host that has it, for the message.

    Raises:
        UnsupportedContentError: It is forbidden.
    """
    if is_forbidden(address):
        raise UnsupportedContentError(
            f"{host} is not fetched from: it is not at a public address (but a private, local or reserved one). "
            "If it is to be trusted, name it in media_hosts."
        )


def literal(host: str) -> str | None:
    """The plain form of a host that is an IP address, in any spelling; `None` for a name.

    IPv4 is read as `inet_aton` and browsers read it (WHATWG URL Standard, "IPv4 parser"): one to four numbers, decimal,
    octal (`0177`) or hexadecimal (`0x7f`), of which the last fills the rest.  IPv6 stands in brackets; one that is
    mapped from IPv4 becomes that.

    Args:
        host: ASCII in lower case, without a dot at its end.

    Raises:
        InvalidMediaError: It begins or ends as an address does, and is none.
    """
    if host.startswith("["):
        return _ipv6(host)
    parts = host.split(".")
    if not parts[-1].isdigit() and not re.fullmatch(r"0x[0-9a-f]*", parts[-1]):
        return None
    if len(parts) > _PARTS or not all(_NUMBER.fullmatch(part) for part in parts):
        raise InvalidMediaError(_NO_ADDRESS)
    try:
        *high, low = map(_number, parts)
    except ValueError:  # 8 and 9 are no octal digits
        raise InvalidMediaError(_NO_ADDRESS) from None
    if any(number > _BYTE for number in high) or low >= 256 ** (_PARTS - len(high)):
        raise InvalidMediaError(_NO_ADDRESS)
    return str(IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(high)) + low))


_NO_ADDRESS = "The URL cannot be used: its host is written as an IP address, but is none."


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def _ipv6(host: str) -> str:
    try:
        found = IPv6Address(host[1:-1])
    except ValueError:
        raise InvalidMediaError(_NO_ADDRESS) from None
    if found.scope_id is not None:  # a zone names a link of this machine
        raise InvalidMediaError(_NO_ADDRESS)
    return str(found.ipv4_mapped or found)


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is reached by way of this one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped
