"""Whatever a URL looks like, no private address passes, and all who read it behind the guard agree on its host."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicpm_core.errors import ConfigurationError, UnsupportedContentError
from minicpm_core.media.guard import check_hosts, check_redirect, check_url, is_forbidden
from tests.core.media.urls import MALFORMED, OF_ANOTHER_KIND, PRIVATE, PUBLIC, WITH_CREDENTIALS

PRIVATE_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
]  # fmt: skip
PRIVATE_V6 = [
    "::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:2::/48",
    "2001:10::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10",
    "ff00::/8",
]  # fmt: skip

private_v4 = st.sampled_from(PRIVATE_V4).flatmap(lambda network: st.ip_addresses(network=IPv4Network(network)))
private_v6 = st.sampled_from(PRIVATE_V6).flatmap(lambda network: st.ip_addresses(network=IPv6Network(network)))
public_v4 = st.ip_addresses(v=4).filter(
    lambda address: not any(address in IPv4Network(network) for network in PRIVATE_V4)
)
public_v6 = st.sampled_from(["2400::/12", "2600::/12", "2a00::/12", "2c00::/12"]).flatmap(
    lambda network: st.ip_addresses(network=IPv6Network(network))
)
"""Blocks of the regional registries."""


def number(draw: st.DrawFn, value: int) -> str:
    """A number in decimal, octal or hexadecimal, perhaps with zeros before it."""
    zeros = "0" * draw(st.integers(0, 3))
    return draw(st.sampled_from([str(value), f"0{zeros}{value:o}", f"0x{zeros}{value:x}", f"0X{zeros}{value:X}"]))


@st.composite
def spelled(draw: st.DrawFn, addresses: st.SearchStrategy[IPv4Address | IPv6Address]) -> tuple[str, str]:
    """An IPv4 address in one of its spellings, and the plain one."""
    address = draw(addresses)
    value = int(address)
    if draw(st.booleans()):
        mapped = draw(st.sampled_from([f"[::ffff:{address}]", f"[{IPv6Address(0xFFFF << 32 | value)}]"]))
        return draw(st.sampled_from([mapped, mapped.upper()])), str(address)
    parts = draw(st.integers(1, 4))
    high = [value >> (24 - 8 * place) & 0xFF for place in range(parts - 1)]
    low = value & (1 << (8 * (5 - parts))) - 1
    dots = st.sampled_from([".", ".", "。", "．", "｡"])
    text = number(draw, high[0]) if high else ""
    for part in [*high[1:], low] if high else [low]:
        text += (draw(dots) if text else "") + number(draw, part)
    if draw(st.booleans()):
        text = text.translate({48 + digit: 0xFF10 + digit for digit in range(10)})  # full width
    return text + draw(st.sampled_from(["", ".", ""])), str(address)


def url_of(host: str) -> str:
    return f"http://{host}:8080/x"


@given(spelling=spelled(private_v4))
@settings(max_examples=500)
def test_no_private_address_passes_in_any_spelling(spelling: tuple[str, str]) -> None:
    host, plain = spelling
    assert is_forbidden(plain)
    with pytest.raises(UnsupportedContentError, match="public address"):
        check_url(url_of(host))
    target = check_url(url_of(host), frozenset({plain}))
    assert (target.host, target.allowed) == (plain, True)


@given(spelling=spelled(public_v4))
@settings(max_examples=500)
def test_every_public_address_passes_as_what_it_is(spelling: tuple[str, str]) -> None:
    host, plain = spelling
    target = check_url(url_of(host))
    assert (target.host, target.url, target.allowed) == (plain, url_of(plain), False)


@given(address=private_v6)
def test_no_private_ipv6_address_passes(address: IPv6Address) -> None:
    for host in (f"[{address}]", f"[{address.exploded}]", f"[{address.exploded.upper()}]"):
        with pytest.raises(UnsupportedContentError):
            check_url(url_of(host))


@given(address=public_v6)
def test_every_public_ipv6_address_passes(address: IPv6Address) -> None:
    assert check_url(url_of(f"[{address.exploded}]")).host == str(address)


@given(carried=private_v4, prefix=st.sampled_from(["64:ff9b::", "::", "::ffff:", "::ffff:0:"]))
def test_no_private_address_passes_inside_another(carried: IPv4Address, prefix: str) -> None:
    assert is_forbidden(f"{prefix}{carried}")
    with pytest.raises(UnsupportedContentError):
        check_url(url_of(f"[{prefix}{carried}]"))


@given(carried=st.ip_addresses(v=4), rest=st.integers(0, 2**80 - 1))
def test_tunnels_that_are_no_longer_in_use_are_closed(carried: IPv4Address, rest: int) -> None:
    assert is_forbidden(str(IPv6Address(0x2002 << 112 | int(carried) << 80 | rest)))  # 6to4
    assert is_forbidden(str(IPv6Address(0x20010000 << 96 | rest << 16 | int(carried) ^ 0xFFFF_FFFF)))  # Teredo


@given(carried=public_v4)
def test_networks_that_speak_ipv6_only_reach_public_servers(carried: IPv4Address) -> None:
    assert not is_forbidden(f"64:ff9b::{carried}")


SEEDS = [*MALFORMED, *OF_ANOTHER_KIND, *WITH_CREDENTIALS, *PRIVATE, *(url for url, *_ in PUBLIC)]
pieces = st.one_of(
    st.sampled_from(
        ["http://", "https://", "//", "/", "\\", "@", "#", "?", ":", "%", "[", "]", ".", "。", "127.0.0.1"]
    ),
    st.sampled_from(SEEDS),
    st.text(max_size=6),
)
texts = st.one_of(
    st.lists(pieces, max_size=6).map("".join),
    st.lists(pieces, max_size=4).map(lambda some: "http://" + "".join(some)),
    st.text(alphabet="0123456789xabcdef.:[]%@/", max_size=20).map("https://{}/".format),
)


@given(text=texts)
@settings(max_examples=1000)
def test_all_who_read_a_url_that_passed_agree_on_its_host(text: str) -> None:
    with contextlib.suppress(UnsupportedContentError):
        target = check_url(text)
        assert check_url(target.url) == target
        assert target.url.isascii()
        by_httpx, by_python = httpx.URL(target.url), urlsplit(target.url)
        assert by_httpx.raw_host.decode() == by_python.hostname == target.host
        default = {"http": 80, "https": 443}[target.scheme]
        assert (by_httpx.port or default) == (by_python.port or default) == target.port
        assert not target.is_address or not is_forbidden(target.host)


@given(base=st.sampled_from([url for url, *_ in PUBLIC]), location=st.one_of(texts, st.text(max_size=20)))
@settings(max_examples=500)
def test_no_redirect_does_harm(base: str, location: str) -> None:
    current = check_url(base)
    with contextlib.suppress(UnsupportedContentError):
        target = check_redirect(current, location)
        assert check_url(target.url) == target
        assert (current.scheme, target.scheme) != ("https", "http")


@given(entry=st.one_of(texts, st.text(max_size=20)))
@settings(max_examples=300)
def test_an_allow_list_is_right_or_told_to_be_wrong(entry: str) -> None:
    with contextlib.suppress(ConfigurationError):
        check_hosts(frozenset({entry}))
