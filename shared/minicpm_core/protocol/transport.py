"""What a failed transport means, by the names that httpx, httpx2 and their transports share.

Names, not classes: a caller may hand in a client of any of these libraries, and none of them is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from minicpm_core.errors import APIConnectionError, APIError, APITimeoutError, MalformedReplyError
from minicpm_core.protocol.failures import clean


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A row of the table.

    Attributes:
        what: In words, for the message.
        phase: For a timeout, the step that took too long.
        sent: The request had reached the server, as far as one can know.
        passes: It may go well the next time.
    """

    what: str
    phase: str | None = None
    sent: bool = True
    passes: bool = True


_MEANINGS: dict[str, _Meaning] = {
    "ConnectTimeout": _Meaning("no connection in time", phase="connect", sent=False),
    "PoolTimeout": _Meaning("no free connection in time", phase="pool", sent=False),
    "WriteTimeout": _Meaning("the request could not be sent in time", phase="write"),
    "ReadTimeout": _Meaning("no answer in time", phase="read"),
    "ConnectError": _Meaning("no connection", sent=False),
    "ProxyError": _Meaning("the proxy refused the connection", sent=False),
    "UnsupportedProtocol": _Meaning("the URL cannot be used", sent=False, passes=False),
    "LocalProtocolError": _Meaning("the request is not valid HTTP", sent=False, passes=False),
    "RemoteProtocolError": _Meaning("the server broke off"),
    "ReadError": _Meaning("the connection broke"),
    "WriteError": _Meaning("the connection broke"),
    "CloseError": _Meaning("the connection broke"),
    "TimeoutException": _Meaning("no answer in time", phase="read"),
    "TransportError": _Meaning("the connection failed"),
}
_NEXT = {
    "connect": "Check base_url, the network and the proxy settings, or raise timeout.",
    "pool": "Make fewer calls at once, or raise timeout.",
    "write": "Send smaller pictures, or raise timeout.",
    "read": "Raise timeout, ask for fewer max_tokens, or stream.",
}


def failure_for(
    error: BaseException, *, url: str, reused: bool, timeout_read: float | None, secrets: tuple[str, ...]
) -> APIError | None:
    """The error that the caller sees for a transport's; `None` if it is none of a transport.

    Args:
        error: What was raised.
        url: The base URL, for the message.
        reused: The connection may have been a pooled one.
        timeout_read: Seconds, for the message of a read timeout.
        secrets: Never to be shown.
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    if "DecodingError" in names:
        return MalformedReplyError(f"The answer of {url} could not be decompressed.")
    meaning = next((_MEANINGS[name] for name in names if name in _MEANINGS), None)
    if meaning is None:
        return None
    detail = clean(str(error), secrets)
    shown = f": {detail}" if detail and meaning.phase is None else ""
    if meaning.phase is not None:
        waited = f" within {timeout_read:g} s" if meaning.phase == "read" and timeout_read else ""
        return APITimeoutError(f"{url}: {meaning.what}{waited}. {_NEXT[meaning.phase]}", phase=meaning.phase)
    hint = "" if meaning.sent else " Check base_url and that the server runs."
    return APIConnectionError(
        f"{url}: {meaning.what}{shown}.{hint}",
        sent=meaning.sent,
        stale=meaning.sent and reused,
        retryable=meaning.passes,
    )
