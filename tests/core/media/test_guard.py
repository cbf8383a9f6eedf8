"""Which URLs may be fetched: each spelling ends as the host that it is, and what is doubtful is refused."""

from __future__ import annotations

import httpx
import pytest

from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media.guard import (
    BAD_PORTS,
    check_address,
    check_hosts,
    check_redirect,
    check_url,
    is_forbidden,
)
from tests.core.media.urls import MALFORMED, OF_ANOTHER_KIND, PRIVATE, PUBLIC, SECRET, WITH_CREDENTIALS


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_malformed_is_refused(url: str) -> None:
    with pytest.raises(InvalidMediaError, match="The URL "):
        check_url(url)


@pytest.mark.parametrize("url", OF_ANOTHER_KIND)
def test_only_http_and_https(url: str) -> None:
    with pytest.raises(UnsupportedContentError, match="Only URLs that begin with http:// or https:// are fetched"):
        check_url(url)


@pytest.mark.parametrize("url", WITH_CREDENTIALS)
def test_no_user_and_no_password(url: str) -> None:
    with pytest.raises(UnsupportedContentError, match="user name or password") as caught:
        check_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", PRIVATE)
def test_no_private_address_in_any_spelling(url: str) -> None:
    with pytest.raises(UnsupportedContentError, match="not at a public address") as caught:
        check_url(url)
    assert type(caught.value) is UnsupportedContentError


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_may_be_allowed_in_any_spelling(url: str) -> None:
    host = httpx.URL(url).netloc.decode() if url.startswith("http://[") else url.split("/")[2]
    target = check_url(url, frozenset({host}))
    assert target.allowed
    assert check_url(target.url, frozenset({target.host})) == target


@pytest.mark.parametrize(("url", "host", "port", "plain"), PUBLIC)
def test_what_a_public_url_leads_to(url: str, host: str, port: int, plain: str) -> None:
    target = check_url(url)
    assert (target.host, target.port, target.url, target.allowed) == (host, port, plain, False)
    assert check_url(plain) == target
    assert target.origin + target.path == plain


@pytest.mark.parametrize("url", ["https://example.com:8443/a?b=c", "http://[2606:4700::1111]:8080/", "http://8.8.8.8"])
def test_the_parts_fit_together(url: str) -> None:
    target, other = check_url(url), httpx.URL(url)
    assert (target.host, target.netloc) == (other.host, other.netloc.decode())
    assert target.path == other.raw_path.decode()


@pytest.mark.parametrize("port", sorted(BAD_PORTS))
def test_ports_of_other_services_need_to_be_named(port: int) -> None:
    url = f"http://example.com:{port}/"
    for hosts in (frozenset[str](), frozenset({"example.com"}), frozenset({"example.com:8080"})):
        with pytest.raises(UnsupportedContentError, match=f"port {port} is not one of web servers"):
            check_url(url, hosts)
    assert check_url(url, frozenset({f"example.com:{port}"})).port == port


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("intranet", "http://intranet/", True),
        ("Intranet.", "http://INTRANET:8080/", True),
        ("intranet", "http://other.intranet/", False),
        ("intranet", "http://intranet.example.com/", False),
        (".example.com", "http://a.example.com/", True),
        (".example.com", "http://a.b.example.com/", True),
        (".example.com", "http://example.com/", False),
        (".example.com", "http://badexample.com/", False),
        (".example.com:8080", "http://a.example.com:8080/", True),
        (".example.com:8080", "http://a.example.com/", False),
        ("intranet:8080", "http://intranet:8080/", True),
        ("intranet:8080", "http://intranet:8081/", False),
        ("intranet:443", "https://intranet/", True),
        ("bücher.example", "https://xn--bcher-kva.example/", True),
        ("::1", "http://[::1]:9000/", True),
        ("[::1]", "http://[0:0::1]/", True),
        ("[::1]:9000", "http://[::1]:9000/", True),
        ("::ffff:127.0.0.1", "http://2130706433/", True),
        ("127.0.0.1", "http://0x7f.1:8080/", True),
        ("127.0.0.1:80", "http://127.0.0.1/", True),
    ],
)
def test_the_allow_list(entry: str, url: str, allowed: bool) -> None:
    assert check_url(url, frozenset({entry, "unrelated.example"})).allowed is allowed


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:81/"),
        ("127.0.0.1", "http://127.0.0.2/"),
        ("::1", "http://127.0.0.1/"),
        ("localhost", "http://127.0.0.1/"),
    ],
)
def test_what_is_not_on_the_allow_list_stays_forbidden(entry: str, url: str) -> None:
    with pytest.raises(UnsupportedContentError, match="public address"):
        check_url(url, frozenset({entry}))


@pytest.mark.parametrize(
    "entry",
    [
        *["", ".", "*", "*.example.com", "http://example.com", "example.com/x", "10.0.0.0/8", ".1", ".[::1]"],
        *["exa mple", "1.2.3.4.5", "example.com:x", "example.com:0", "[::1", f"user:{SECRET}@example.com"],
    ],
)
def test_an_entry_that_could_never_match_is_told(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be an allowed host") as caught:
        check_hosts(frozenset({"example.com", entry}))
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError):
        check_url("https://example.com/", frozenset({entry}))


def test_an_allow_list_in_order_passes() -> None:
    check_hosts(frozenset({"example.com", ".example.com:8080", "10.0.0.1", "fd00::1", "[fd00::1]:80"}))


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/x", "https://example.com/x"),
        ("x?y", "https://example.com/a/x?y"),
        ("?y", "https://example.com/a/b?y"),
        ("", "https://example.com/a/b"),
        ("//other.example/x", "https://other.example/x"),
        ("https://other.example", "https://other.example/"),
    ],
)
def test_a_redirect_is_resolved_like_a_link(location: str, leads_to: str) -> None:
    assert check_redirect(check_url("https://example.com/a/b"), location).url == leads_to


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "//127.0.0.1/",
        "//user@example.com/",
        "https://example.com\\@127.0.0.1/",
        "ht\ttps://127.0.0.1/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "https://[::1]/",
        "https://[::1",
        "https:///x\\y",
        "https://example.com:22/",
    ],
)
def test_a_redirect_is_checked_like_a_url(location: str) -> None:
    with pytest.raises(UnsupportedContentError):
        check_redirect(check_url("https://example.com/a/b"), location)


def test_a_redirect_may_lead_to_what_is_allowed() -> None:
    target = check_redirect(check_url("http://example.com/"), "http://127.0.0.1:81/x", frozenset({"127.0.0.1:81"}))
    assert target.allowed
    assert check_redirect(check_url("http://example.com/"), "https://example.com/").scheme == "https"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "fe80::1%eth0", "2606:4700::1111%1", "::1", "ff0e::1", "not an address", "", "1", "0x7f.1"]
)
def test_addresses_that_are_forbidden(address: str) -> None:
    assert is_forbidden(address)
    with pytest.raises(UnsupportedContentError, match=r"^files\.example is not fetched from"):
        check_address(address, "files.example")


def test_what_a_name_stands_for_is_not_told() -> None:
    with pytest.raises(UnsupportedContentError) as caught:
        check_address("10.1.2.3", "files.example")
    assert "10.1.2.3" not in str(caught.value)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_addresses_that_are_not(address: str) -> None:
    assert not is_forbidden(address)
    check_address(address, "files.example")
