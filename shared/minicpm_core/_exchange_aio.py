"""One call that is under way, on asyncio: the same names and the same order as `_exchange.py`."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import sleep
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from minicpm_core._exchange import DRAIN_SECONDS, OK, ExchangeBase, is_stale, leave_answer_behind
from minicpm_core._inbound import Body, inflater_for, lower_headers
from minicpm_core._lanes import close_soon, run_to_end
from minicpm_core._pools import async_pool
from minicpm_core._uploads import AsyncUpload, Upload
from minicpm_core.errors import APIError
from minicpm_core.protocol.flow import Failure, Opened, Outcome, Reply, Send, Sleep

if TYPE_CHECKING:
    from minicpm_core.protocol.flow import Flow
    from minicpm_core.protocol.request import Request

T = TypeVar("T")


class AsyncExchange(ExchangeBase):
    """One call: drives a flow, and holds the response that is open."""

    _upload_by: ClassVar[type[Upload | AsyncUpload]] = AsyncUpload
    _pool: Any = None
    _loop: Any = None
    _chunks: Any = None

    async def drive(self, flow: Flow[T]) -> T:
        """Carry a flow's commands out until it returns."""
        try:
            command = next(flow)
            while True:
                outcome: Outcome = None
                if isinstance(command, Send):
                    await self.aclose()
                    outcome = await self._send(command.request)
                elif isinstance(command, Sleep):
                    await self.aclose()
                    await sleep(command.seconds)
                else:
                    outcome = await self._read_or_fail()
                command = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except APIError as error:
            leave_answer_behind(error)
            raise

    async def read(self) -> bytes:
        """The next bytes of the open response; none at its end.

        Raises:
            APIError: The connection failed.
        """
        try:
            chunk: bytes
            async for chunk in self._chunks:
                if chunk:
                    return chunk
            if self._inflater is not None:
                self._inflater.finish()
            await self._response.aclose()
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            failure = self._failure(error)
        else:
            self._finished = True
            return b""
        raise failure  # here, so that it does not refer to the transport's error

    async def drain(self) -> None:
        """Read to the end after the answer is complete, if it comes soon, so that the connection can be used again."""
        if self._finished:
            return
        with contextlib.suppress(APIError, TimeoutError):  # the answer is complete, however the connection ends
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self.read():
                    pass

    async def aclose(self) -> None:
        """End the open response, whether it was read or not, and give its connection back."""
        lane, self._lane = self._lane, None
        response, self._response = self._response, None
        finished, self._finished = self._finished, False
        if lane is not None:
            await self._pool.give(lane, finished=finished)
        elif response is not None and not finished:
            await run_to_end(response.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def abandon(self) -> None:
        """Close as soon as the loop runs again."""
        pool = self._pool
        lane, self._lane = self._lane, None
        response, self._response = self._response, None
        if lane is not None:
            close_soon(self._loop, lambda: pool.give(lane, finished=False))
        elif response is not None and not self._finished:
            close_soon(self._loop, response.aclose)

    def __del__(self) -> None:
        """Close: a stream that was left must not keep its connection."""
        self.abandon()

    async def _send(self, request: Request) -> Outcome:
        self._loop = asyncio.get_running_loop()
        try:
            if self._http_client is None:
                self._pool = await async_pool(self.client)
                sent = self._http_request(request)
                self._lane = await self._pool.take(self._origin, sent.extensions["timeout"]["pool"])
                self._lane.watch(sent.extensions)
                self._response = await self._lane.transport.handle_async_request(sent)
            else:
                self._response = await self._http_client.send(self._http_request(request), stream=True)
            headers = self._opened()
            if request.stream and self._response.status_code == OK:
                return Opened(headers)
            return Reply(self._response.status_code, headers, await self._body())
        except Exception as error:  # noqa: BLE001 - raised again unless it is a transport's
            failure = self._failure(error)
        if self._lane is not None and is_stale(failure):
            await self._pool.close(self._pool.take_idle(self._origin))  # they have waited longer still
        return Failure(failure)

    def _opened(self) -> dict[str, str]:
        """Prepare for reading the response that has just begun."""
        headers = lower_headers(self._response.headers)
        inflater = self._inflater = inflater_for(headers, self._url)
        self._chunks = aiter(self._response.stream)
        if inflater is not None:
            self._chunks = (piece async for chunk in self._chunks for piece in inflater.feed(chunk))
        return headers

    async def _body(self) -> bytes:
        config = self.client.config
        body = Body(
            self._response.status_code, most=config.max_response_bytes, seconds=self._read_seconds, url=self._url
        )
        while body.takes(await self.read()):
            pass
        return body.joined()

    async def _read_or_fail(self) -> Outcome:
        try:
            return await self.read()
        except APIError as error:
            return Failure(error)
