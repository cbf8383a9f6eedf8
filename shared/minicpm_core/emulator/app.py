"""The emulator as an ASGI app: routes, key, body, and the way from a request to bytes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib
import json
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from minicpm_core.emulator import faults
from minicpm_core.emulator.answers import answer
from minicpm_core.emulator.reading import parse_json, read_request
from minicpm_core.emulator.realtime.app import HANG_UP, PATH, RealtimeEndpoint
from minicpm_core.emulator.refusals import Refusal, worded
from minicpm_core.emulator.replies import envelope, unique, whole
from minicpm_core.emulator.sending import event_stream, gzipped, in_pieces, page, retry_headers, whole_body
from minicpm_core.emulator.state import EmulatorState, RecordedRequest
from minicpm_core.emulator.streams import DONE, events
from minicpm_core.emulator.values import filled
from minicpm_core.errors import ConfigurationError
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from minicpm_core.emulator.dialects import Dialect
    from minicpm_core.emulator.faults import FaultPlan
    from minicpm_core.emulator.replies import Envelope
    from minicpm_core.emulator.settings import EmulatorSettings
    from minicpm_core.emulator.values import Json

REALTIME_EXTRA = "pip install 'minicpm-integrations[emulator,realtime]'"
"""What to do where websockets is missing."""

_MEDIA = (b"image_url", b"video_url", b"input_video", b"audio_url", b"input_audio")
"""Types of content parts that take long."""


def has_realtime() -> bool:
    """Whether realtime sessions can be had: whether websockets is installed, and uvicorn can use it."""
    try:
        importlib.import_module("minicpm_core.emulator.realtime.uvicorn_protocol")
    except ImportError:
        return False
    return True


def create_app(settings: EmulatorSettings, state: EmulatorState | None = None) -> Starlette:
    """The app, for any ASGI server. The faults that close connections need `EmulatorServer`'s.

    Args:
        settings: Of the emulator.
        state: Where requests are logged; a new one where none is given.
    """
    state = state or EmulatorState(settings)
    emulator = _Emulator(settings, state)
    return Starlette(
        routes=[
            Route("/health", emulator.health),
            Route("/v1/models", emulator.models),
            Route("/v1/chat/completions", emulator.chat, methods=["POST"]),
            Route(PATH, emulator.no_handshake),
            WebSocketRoute(PATH, RealtimeEndpoint(settings, state).__call__),
        ],
        exception_handlers={
            404: emulator.unknown_path,
            405: emulator.wrong_method,
            ConfigurationError: emulator.misasked,
            Refusal: emulator.refused,
            Exception: emulator.broken,
        },
    )


class _Body:
    """The body of a request, parsed once; that it could not be is said when it is asked for."""

    def __init__(self, raw: bytes) -> None:
        self.has_media = any(part in raw for part in _MEDIA)
        self.parsed: Json = None
        self.refusal: Refusal | None = None
        try:
            self.parsed = parse_json(raw)
        except Refusal as refusal:
            self.refusal = refusal

    def document(self) -> Json:
        if self.refusal is not None:
            raise self.refusal
        return self.parsed


class _Emulator:
    """The handlers, with what they share."""

    def __init__(self, settings: EmulatorSettings, state: EmulatorState) -> None:
        self.settings = settings
        self.dialect: Dialect = settings.dialect
        self.state = state

    async def health(self, request: Request) -> Response:
        await self.received(request)
        return self.reply({"status": "ok"})

    async def models(self, request: Request) -> Response:
        await self.received(request)
        self.check_key(request)
        rows = [self.model_row(model) for model in self.settings.models]
        return self.reply({"object": "list", "data": rows})

    async def no_handshake(self, request: Request) -> Response:
        """Realtime sessions are had by a WebSocket; here came plain HTTP, or nothing is installed that takes one."""
        await self.received(request)
        said = "This is the address of realtime sessions: connect with a WebSocket."
        if not has_realtime():
            said = f"Realtime sessions need websockets: {REALTIME_EXTRA}"
        return Response(
            json.dumps({"emulator": said}),
            426,
            {**self.headers(), "upgrade": "websocket", "connection": "upgrade"},
            media_type="application/json",
        )

    async def chat(self, request: Request) -> Response:
        body = await self.received(request)
        self.check_key(request)
        plan = self.state.next_fault(request.headers, faults.HEADER)
        close: Callable[[], None] = request.scope.get("extensions", {}).get(HANG_UP, _cannot_close)
        if "slow" in plan:
            # Nothing more comes from a client that waits, but the news that it has gone.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(request.receive(), plan["slow"])
        replaced = self.replaced(plan, close)
        if replaced is not None:
            return replaced
        said_json = request.headers.get("content-type", "").startswith("application/json")
        if not said_json and "content_type" not in self.dialect.lets_pass:
            raise Refusal("content_type")
        # A picture takes milliseconds to decode, a video seconds, in which other requests should not have to wait.
        sent = await asyncio.to_thread(self.answered, body) if body.has_media else self.answered(body)
        return self.send(sent, plan, close)

    def answered(self, body: _Body) -> Envelope:
        """The answer to the body of a request."""
        request = read_request(body.document(), self.settings)
        return envelope(request, answer(request, self.dialect, self.settings.context), self.dialect)

    def send(self, sent: Envelope, plan: FaultPlan, close: Callable[[], None]) -> Response:
        """The response that carries an answer."""
        if not sent.request.stream and not plan:
            return self.reply(whole(sent))
        headers = self.headers()
        if sent.request.stream:
            media_type = "text/event-stream"
            done = DONE if self.dialect.done and "no-done" not in plan else None
            data = events(sent, done=done is not None)
            body = event_stream(data, plan, close, pace=self.settings.pace, done=done)
            if "chunk" in plan:
                body = in_pieces(body, int(plan["chunk"]))
        else:
            media_type = "application/json"
            encoded = json.dumps(whole(sent), ensure_ascii=False).encode()
            body = whole_body(encoded, plan, close)
            if "cut-after" in plan or "stall-after" in plan:
                headers["content-length"] = str(len(encoded))
        if "gzip" in plan:
            headers["content-encoding"] = "gzip"
            body = gzipped(body)
        return StreamingResponse(body, headers=headers, media_type=media_type)

    def replaced(self, plan: FaultPlan, close: Callable[[], None]) -> Response | None:
        """The response that a fault puts in place of the answer."""
        if "drop" in plan:
            close()
            return Response()  # goes nowhere
        if "html" in plan:
            status = int(plan["html"])
            return Response(page(status), status, self.headers(), media_type="text/html")
        if "empty" in plan:
            return Response(b"", 200, self.headers(), media_type="application/json")
        if "status" in plan:
            status = int(plan["status"])
            response = self.worded(Refusal("injected", f"Injected by status={status}.", status=status))
            response.headers.update(retry_headers(plan))
            return response
        return None

    async def received(self, request: Request) -> _Body:
        """The body of a request, which is logged."""
        most, parts, size = self.settings.max_body_bytes, list[bytes](), 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise Refusal("too_large", f"The request is larger than {most} bytes.")
            parts.append(part)
        body = _Body(b"".join(parts))
        names = tuple(request.headers.keys())
        self.state.record(RecordedRequest(request.method, request.url.path, names, body.parsed, size))
        return body

    def check_key(self, request: Request) -> None:
        """Refuse a request with another key than the one that was set."""
        key = self.settings.api_key
        given = request.headers.get("authorization", "")
        if key is not None and not hmac.compare_digest(given.encode(), f"Bearer {key.reveal()}".encode()):
            raise Refusal("unauthorized")

    def model_row(self, model: str) -> dict[str, Any]:
        """A row of `/v1/models`."""
        facts: dict[str, Any] = {
            "id": model,
            "context": self.settings.context,
            "context_trained": card_for(model).context_window or self.settings.context,
            "owner": model.partition("/")[0],
        }
        return {"id": model, "object": "model", "created": 0, **filled(self.dialect.model_row, facts)}

    def headers(self) -> dict[str, str]:
        """The headers that every answer of the dialect has."""
        return {name: value.format(unique=unique()) for name, value in self.dialect.headers}

    def reply(self, body: Any) -> Response:
        """A JSON answer."""
        encoded = json.dumps(body, ensure_ascii=False)
        return Response(encoded, headers=self.headers(), media_type="application/json")

    def worded(self, refusal: Refusal) -> Response:
        """A refusal in the dialect's words."""
        said = worded(refusal, self.dialect.errors, self.dialect.error_shape)
        return Response(said.body, said.status, self.headers(), media_type=said.media_type)

    async def refused(self, request: Request, error: Exception) -> Response:
        del request
        return self.worded(error if isinstance(error, Refusal) else Refusal("injected", str(error)))

    async def unknown_path(self, request: Request, error: Exception) -> Response:
        del error
        await self.received(request)
        return self.worded(Refusal("unknown_path"))

    async def wrong_method(self, request: Request, error: Exception) -> Response:
        del error
        await self.received(request)
        return self.worded(Refusal("wrong_method"))

    async def misasked(self, request: Request, error: Exception) -> Response:
        """A fault was asked for that does not exist: said plainly, in no dialect, since it is about the emulator."""
        del request
        return Response(json.dumps({"emulator": str(error)}), 400, self.headers(), media_type="application/json")

    async def broken(self, request: Request, error: Exception) -> Response:
        """The emulator itself failed: said in no dialect, so that nobody takes it for an imitation. uvicorn logs it."""
        del request
        said = f"The emulator itself failed: {type(error).__name__}. This is a bug of minicpm-integrations."
        return Response(json.dumps({"emulator": said}), 500, self.headers(), media_type="application/json")


def _cannot_close() -> None:
    raise RuntimeError("This ASGI server cannot close a connection in mid-answer: use EmulatorServer.")
