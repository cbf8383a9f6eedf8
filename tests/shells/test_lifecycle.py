"""Processes, loops, threads and forks: clients work in all of them and leave nothing behind.

Each script runs with every warning as an error and may complain about nothing: no "unclosed", no "never retrieved".
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from minicpm_core import AsyncMiniCPMClient, MiniCPMClient, _pools
from tests.shells.support import HELLO, pieces, run_script, streamed
from tests.support.server import ScriptedServer, Wait, completion, events, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shells.support import Shell

HEAD = """
import asyncio, gc, os, sys
from minicpm_core import AsyncMiniCPMClient, Message, MiniCPMClient
url = sys.argv[1]
hello = [Message("user", "Hello")]
sync = MiniCPMClient(base_url=url, backend="vllm", max_retries=0)
client = AsyncMiniCPMClient(base_url=url, backend="vllm", max_retries=0)
async def ask():
    return (await client.complete(hello)).choices[0].text
"""


def run(server: ScriptedServer, script: str) -> str:
    """What a script prints after the common head."""
    import textwrap

    return run_script(HEAD + textwrap.dedent(script), server.base_url)


def test_nothing_is_imported_or_opened_before_the_first_call() -> None:
    script = """
    import sys
    from minicpm_core import AsyncMiniCPMClient, MiniCPMClient
    clients = [MiniCPMClient(base_url="http://localhost/v1"), AsyncMiniCPMClient(base_url="http://localhost/v1")]
    repr(clients)
    print(sorted({"httpx", "httpcore", "anyio", "h11", "httpx2", "aiohttp", "ssl"} & set(sys.modules) - {"ssl"}))
    """
    assert run_script(script) == "[]\n"


def test_the_first_async_call_imports_and_reads_certificates_off_the_loop(server: ScriptedServer) -> None:
    """About 0.1 s, during which other tasks go on."""
    script = """
    import importlib.abc, threading
    seen = {}
    class Watch(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            seen[name] = threading.current_thread() is threading.main_thread()
    sys.meta_path.insert(0, Watch())
    import ssl
    load, loaded = ssl.SSLContext.load_verify_locations, []
    def watched(self, *args, **kwargs):
        loaded.append(threading.current_thread() is threading.main_thread())
        return load(self, *args, **kwargs)
    ssl.SSLContext.load_verify_locations = watched
    async def main():
        await asyncio.gather(*(ask() for _ in range(20)))
    asyncio.run(main())
    heavy = {"httpx", "httpcore", "anyio", "anyio._backends._asyncio", "h11"}
    print(heavy - set(seen), {name for name in heavy if seen[name]}, loaded)
    """
    assert run(server, script) == "set() set() [False]\n"


def test_one_ssl_context_for_all(server: ScriptedServer) -> None:
    script = """
    import httpx
    make, made = httpx.create_ssl_context, []
    httpx.create_ssl_context = lambda *a, **k: made.append(a or k) or make(*a, **k)
    for _ in range(3):
        asyncio.run(ask())
        sync.complete(hello)
        sync.close()
        MiniCPMClient(base_url=url, backend="vllm").complete(hello)
    print(sum(not each for each in made))
    """
    assert run(server, script) == "1\n"


def test_one_client_in_three_runs(server: ScriptedServer) -> None:
    script = """
    for _ in range(3):
        print(asyncio.run(ask()))
    """
    assert run(server, script) == "Hello.\n" * 3
    assert server.wait_until_closed()


def test_one_client_in_many_loops_at_once(server: ScriptedServer) -> None:
    script = """
    from concurrent.futures import ThreadPoolExecutor
    async def several():
        return await asyncio.gather(*(ask() for _ in range(5)))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: asyncio.run(several()), range(16)))
    print({text for texts in answers for text in texts})
    """
    assert run(server, script) == "{'Hello.'}\n"
    assert len(server.requests) == 80
    assert server.wait_until_closed()


ENDS = """
    async def a_call(): await ask()
    async def an_open_stream(): kept.append(await held.stream(hello)); await anext(kept[0])
    async def a_stream_that_was_not_read(): kept.append(await held.stream(hello))
    async def a_dropped_stream(): await anext(await held.stream(hello))
    async def a_dropped_generator(): await anext(each async for each in await held.stream(hello))
    async def a_kept_generator():
        kept.append(each async for each in await held.stream(hello))
        await anext(kept[0])
    async def a_running_task(): kept.append(asyncio.create_task(waits.complete(hello))); await asyncio.sleep(0.05)
    async def a_task_that_has_just_begun(): kept.append(asyncio.create_task(waits.complete(hello)))
    async def many_tasks():
        kept.extend([asyncio.create_task(waits.complete(hello)) for _ in range(50)])
        await asyncio.sleep(0.02)
    async def an_exception():
        stream = await held.stream(hello)
        await anext(stream)
        raise KeyError
    async def an_exception_in_a_block():
        async with held, await held.stream(hello) as stream:
            async for each in stream:
                raise KeyError
    async def an_interrupt():
        stream = await held.stream(hello)
        await anext(stream)
        raise KeyboardInterrupt
    async def an_exit():
        stream = await held.stream(hello)
        await anext(stream)
        raise SystemExit
    async def closed(): await ask(); await client.aclose(); await client.aclose()
    async def closed_and_used_again(): await ask(); await client.aclose(); await ask()
"""
RUNNERS = {
    "run": "asyncio.run(end())",
    "runner": "with asyncio.Runner() as runner: runner.run(end())",
    "anyio": "import anyio; anyio.run(end)",
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_loop_that_ends(server: ScriptedServer, runner: str) -> None:
    """However it ends, with nothing closed by hand."""
    server.routes |= {"/held": events([*pieces("Hel")[:1], Wait()]), "/waits": [Wait()]}
    script = f"""
    held = AsyncMiniCPMClient(base_url=url.replace("/v1", "/held"), backend="vllm", max_retries=0)
    waits = AsyncMiniCPMClient(base_url=url.replace("/v1", "/waits"), backend="vllm", max_retries=0)
    kept = []
    before = set(globals())
    {ENDS}
    for name, end in list(globals().items()):
        if name in before or name == "before":
            continue
        try:
            {RUNNERS[runner]}
        except (KeyError, KeyboardInterrupt, SystemExit):
            pass
        print(name)
        gc.collect()
        kept.clear()
        gc.collect()
    """
    assert run(server, script).count("\n") == ENDS.count("\n    async def ")
    assert server.wait_until_closed()


ANSWER = whole(completion())


def test_an_interrupted_run(server: ScriptedServer) -> None:
    """Ctrl-C during a call."""
    server.answers[:] = [[Wait()]]
    script = """
    import signal, threading
    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
    try:
        asyncio.run(ask())
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run(server, script) == "interrupted\n"
    assert server.wait_until_closed()


def test_an_interpreter_that_exits(server: ScriptedServer) -> None:
    """With kept connections, and with a stream that is still open."""
    server.answers[:] = [ANSWER, events([*pieces("Hel")[:1], Wait()])]
    script = """
    sync.complete(hello)
    stream = sync.stream(hello)
    print(next(stream).text)
    """
    assert run(server, script) == "Hel\n"


def test_a_daemon_thread_at_exit(server: ScriptedServer) -> None:
    server.answers[:] = [[Wait()]]
    script = """
    import threading
    threading.Thread(target=sync.complete, args=[hello], daemon=True).start()
    import time; time.sleep(0.2)
    """
    done = threading.Event()
    assert not done.is_set()
    run(server, script)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("exits", ["os._exit(0)", "sys.exit(0)"])
def test_both_sides_of_a_fork_go_on(server: ScriptedServer, exits: str) -> None:
    """On connections of their own: the child does not use what the parent opened, and does not close it either."""
    server.answers[:] = [ANSWER, ANSWER, streamed("Hel", "lo."), ANSWER]
    script = f"""
    sync.complete(hello)
    async def main():
        await ask()
        stream = await client.stream(hello)
        first = await anext(stream)
        child = os.fork()
        if not child:
            os._exit(sync.complete(hello).choices[0].text != "Hello.")  # it may not go on with the parent's loop
        print(os.waitpid(child, 0)[1])
        print(first.text + "".join([delta.text async for delta in stream]))
        print(await ask())
    asyncio.run(main())
    print(sync.complete(hello).choices[0].text)
    child = os.fork()
    if not child:
        asyncio.run(ask())
        sync.complete(hello)
        {exits}
    print(os.waitpid(child, 0)[1])
    print(asyncio.run(ask()))
    """
    assert run(server, script) == "0\nHello.\nHello.\nHello.\n0\nHello.\n"
    assert server.opened == 6  # see below


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_processes_of_multiprocessing(server: ScriptedServer) -> None:
    script = """
    import multiprocessing
    def work(number):
        return sync.complete(hello).choices[0].text + asyncio.run(ask())
    sync.complete(hello)
    asyncio.run(ask())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(set(pool.map(work, range(6))))
    """
    assert run(server, script) == "{'Hello.Hello.'}\n"


def _text_of(client: MiniCPMClient, _: int) -> str:
    return client.complete(HELLO).text


def test_one_sync_client_in_many_threads(server: ScriptedServer) -> None:
    client = MiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(partial(_text_of, client), range(160)))
    assert texts == ["Hello."] * 160
    assert server.opened <= 16


def test_a_sync_client_inside_a_loop(server: ScriptedServer) -> None:
    async def main() -> str:
        return MiniCPMClient(base_url=server.base_url, backend="vllm").complete(HELLO).choices[0].text

    assert asyncio.run(main()) == "Hello."


async def test_a_block_closes(make: Callable[..., Shell], server: ScriptedServer) -> None:
    shell = make()
    if isinstance(shell.client, MiniCPMClient):
        with shell.client as client:
            client.complete(HELLO)
    else:
        async with shell.client as client:
            await client.complete(HELLO)
    assert await asyncio.to_thread(server.wait_until_closed)
    await shell.complete()  # and it can be used again
    assert server.opened == 2


async def test_clients_share_connections(make: Callable[..., Shell], server: ScriptedServer) -> None:
    """Until the last of them is closed."""
    first, second = make(), make()
    await first.complete()
    await second.complete()
    assert server.opened == 1
    await first.close()
    await second.complete()
    assert (server.opened, server.open_now) == (1, 1)
    await second.close()
    assert await asyncio.to_thread(server.wait_until_closed)


async def test_one_client_closes_while_another_is_in_flight(server: ScriptedServer) -> None:
    server.answers[:] = [ANSWER, [Wait(), *ANSWER]]
    first = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    second = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    await first.complete(HELLO)
    under_way = asyncio.create_task(second.complete(HELLO))
    assert await asyncio.to_thread(server.wait_for_requests, 2)
    await first.aclose()
    server.release()
    assert (await under_way).choices[0].text == "Hello."


async def test_a_client_closes_while_its_own_call_is_in_flight(server: ScriptedServer) -> None:
    """The call goes on, and its connection is closed afterwards."""
    server.answers[:] = [[Wait(), *ANSWER]]
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    under_way = asyncio.create_task(client.complete(HELLO))
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    await client.aclose()
    server.release()
    assert (await under_way).choices[0].text == "Hello."
    assert await asyncio.to_thread(server.wait_until_closed)


def test_a_client_closes_while_a_thread_is_in_a_call(server: ScriptedServer) -> None:
    server.answers[:] = [[Wait(), *ANSWER]]
    client = MiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(client.complete, HELLO)
        assert server.wait_for_requests(1)
        client.close()
        server.release()
        assert under_way.result().choices[0].text == "Hello."
    assert server.wait_until_closed()


def test_a_loop_that_was_closed_carelessly_is_forgotten(server: ScriptedServer) -> None:
    """Without `shutdown_asyncgens` nobody tells us; the next loop's first call notices."""
    client = AsyncMiniCPMClient(base_url=server.base_url, backend="vllm", max_retries=0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.complete(HELLO))
    pool = _pools._async_pools[loop]
    loop.run_until_complete(pool.retire())  # what is open would be reported by asyncio itself
    _pools._async_pools[loop] = pool
    loop.close()
    asyncio.run(_ask(client))
    assert loop not in _pools._async_pools


async def _ask(client: AsyncMiniCPMClient) -> None:
    await client.complete(HELLO)
