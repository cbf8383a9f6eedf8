"""Which http(s) URLs may be fetched. Pure: nothing is looked up, and nothing connected to.

A URL comes from a user, a tool or a model, and the one who fetches it may stand inside a private network.  So a URL is
taken apart here once, strictly, and put together anew from its parts: nobody behind this module reads it differently.
What parsers are known to disagree on (backslashes, control characters, `@`) is refused.

A host that is an IP address is checked here.  A name is checked by `fetch`, for each address that it stands for.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urljoin

from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media.addresses import check_address, is_forbidden, literal

__all__ = ["Target", "check_address", "check_hosts", "check_redirect", "check_url", "is_forbidden"]

DEFAULT_PORTS = {"http": 80, "https": 443}

MAX_URL = 16 * 1024
"""Characters. Signed links to object stores have up to 2,000."""

BAD_PORTS = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    1433, 1521, 3306, 5432, 6379, 11211, 27017,
})  # fmt: skip
"""Ports of other services: the bad ports of the WHATWG Fetch Standard, and in the last line those of databases."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_MAX_NAME = 253
_MAX_PORT = 65_535
_KEPT = "!$%&'()*+,/:;=?@[]^|~"  # quote keeps letters, digits and -._ as well


class Target(NamedTuple):
    """Where a URL leads.

    Attributes:
        scheme: `http` or `https`.
        host: ASCII in lower case; an IP address in its plain form, without brackets.
        port: The default of the scheme where the URL names none.
        url: The URL in ASCII, without its fragment.
        allowed: The host is on the allow-list, so that its address may be any.
        is_address: The host is an IP address. It was checked.
    """

    scheme: str
    host: str
    port: int
    url: str
    allowed: bool
    is_address: bool

    @property
    def netloc(self) -> str:
        """Host and port, as the `Host` header has them."""
        return _netloc(self.scheme, self.host, self.port)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what may be shown of the URL, whose path and query may hold a secret."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def path(self) -> str:
        """Path and query, which is what a request asks for."""
        return self.url[len(self.origin) :]


def check_url(url: str, hosts: frozenset[str] = frozenset()) -> Target:
    """Take a URL apart, and refuse one that is not to be fetched.

    Args:
        url: As it was given, without whitespace around it.
        hosts: The allow-list: names (`example.com`, or `.example.com` for all its subdomains) and IP addresses, with
            `:port` where only that one is allowed. What is on it may have a private address, and with its port named
            any port. Public hosts need not be on it.

    Raises:
        UnsupportedContentError: It is not http(s), holds a user or password, or leads to a forbidden address or port.
        InvalidMediaError: It is malformed.
        ConfigurationError: An entry of `hosts` is neither a name nor an address.
    """
    scheme, authority, rest = _split(url)
    if "@" in authority:
        raise UnsupportedContentError("The URL holds a user name or password. URLs are fetched without credentials.")
    host, port = _host_and_port(authority)
    address = literal(host)
    if address is None:
        _check_name(host)
    else:
        host = address
    port = DEFAULT_PORTS[scheme] if port is None else port
    by_host, by_port = _listed(host, port, hosts, is_address=address is not None)
    target = Target(scheme, host, port, "", by_host or by_port, address is not None)
    if port in BAD_PORTS and not by_port:
        raise UnsupportedContentError(
            f"{target.origin} is not fetched from: port {port} is not one of web servers. "
            "If it is to be trusted, name it with its port in media_hosts."
        )
    if address is not None and not target.allowed:
        check_address(address, target.origin)
    path = quote(rest if rest.startswith("/") else f"/{rest}", safe=_KEPT)
    return target._replace(url=target.origin + path)


def check_redirect(current: Target, location: str, hosts: frozenset[str] = frozenset()) -> Target:
    """Where a redirect leads, checked as `check_url` does.

    Args:
        current: What was asked.
        location: The `Location` header of the answer.
        hosts: The allow-list.

    Raises:
        UnsupportedContentError: As `check_url`, and where it leads from https to http.
        InvalidMediaError: As `check_url`.
        ConfigurationError: As `check_url`.
    """
    _check_text(location)
    try:
        joined = urljoin(current.url, location)
    except ValueError:  # of urlsplit, for brackets that are none of an address
        raise InvalidMediaError(f"{current.origin} redirects to a URL that cannot be used.") from None
    target = check_url(joined, hosts)
    if current.scheme == "https" and target.scheme == "http":
        raise UnsupportedContentError(f"{current.origin} redirects from https to http, which is not followed.")
    return target


def check_hosts(hosts: frozenset[str]) -> None:
    """Refuse an allow-list with an entry that could never match.

    Raises:
        ConfigurationError: An entry is neither a name nor an address.
    """
    _entries(hosts)


def _split(url: str) -> tuple[str, str, str]:
    """Scheme in lower case, authority, and path with query."""
    _check_text(url)
    found = _URL.fullmatch(url)
    if found is None:
        scheme = _SCHEME.match(url)
        if scheme is None or scheme[1].lower() not in DEFAULT_PORTS:
            raise UnsupportedContentError("Only URLs that begin with http:// or https:// are fetched.")
        raise InvalidMediaError(f"The URL is malformed: {scheme[1].lower()}: is not followed by // and a host.")
    return found[1].lower(), found[2], found[3]


def _check_text(url: str) -> None:
    if len(url) > MAX_URL:
        raise InvalidMediaError(f"The URL is too long: it has {len(url)} characters, the limit is {MAX_URL}.")
    if _UNSAFE.search(url):
        raise InvalidMediaError("The URL is malformed: it holds a backslash or a control character.")


def _host_and_port(authority: str) -> tuple[str, int | None]:
    """The host in ASCII and lower case without a dot at its end, and the port if there is one."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise InvalidMediaError("The URL is malformed: behind the // there must be a host, and perhaps a port.")
    port = int(found[2]) if found[2] else None
    if port is not None and not 1 <= port <= _MAX_PORT:
        raise InvalidMediaError(f"The URL is malformed: there is no port {port}.")
    host = _ascii(found[1]).lower().removesuffix(".")
    if not host:
        raise InvalidMediaError("The URL is malformed: it names no host.")
    return host, port


def _ascii(host: str) -> str:
    """A host name in ASCII (IDNA 2008 after the mapping of UTS #46, which folds digits and dots of other scripts)."""
    if host.isascii():
        return host
    import idna

    if len(host) <= _MAX_NAME:
        with contextlib.suppress(UnicodeError):  # IDNAError is one
            return idna.encode(host, uts46=True).decode()
    raise InvalidMediaError("The URL is malformed: its host is no valid international name.")


def _check_name(host: str) -> None:
    if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        raise InvalidMediaError("The URL is malformed: its host is no valid name.")


def _netloc(scheme: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port == DEFAULT_PORTS[scheme] else f"{shown}:{port}"


def _listed(host: str, port: int, hosts: frozenset[str], *, is_address: bool) -> tuple[bool, bool]:
    """Whether the allow-list has a host without a port, and whether it has it with this one."""
    entries = _entries(hosts)
    names = {host}
    if not is_address:
        labels = host.split(".")
        names.update("." + ".".join(labels[at:]) for at in range(1, len(labels)))
    return any((name, None) in entries for name in names), any((name, port) in entries for name in names)


@lru_cache(maxsize=64)
def _entries(hosts: frozenset[str]) -> frozenset[tuple[str, int | None]]:
    return frozenset(map(_entry, hosts))


def _entry(text: str) -> tuple[str, int | None]:
    """An entry of the allow-list: host, with a dot before it for all its subdomains, and port."""
    dot, authority = ("." if text.startswith(".") else ""), text.removeprefix(".")
    if authority.count(":") > 1 and not authority.startswith("["):
        authority = f"[{authority}]"
    try:
        host, port = _host_and_port(authority)
        address = literal(host)
        if address is None:
            _check_name(host)
    except InvalidMediaError:
        address, host, port = None, "", None
    if not host or (dot and address is not None):
        raise ConfigurationError(
            f"{text.rpartition('@')[2]!r} cannot be an allowed host. It must be a name such as example.com, "
            ".example.com for all its subdomains, or an IP address; with :port to allow only that."
        )
    return dot + (address or host), port
