"""The command line: commands, options, help. What the commands do is in the modules of their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from minicpm_core._version import __version__
from minicpm_core.cli.connection import Connection
from minicpm_core.cli.failures import STOPPED, UNREAD, leave_stdout, reported
from minicpm_core.cli.screen import tolerate_odd_characters

if TYPE_CHECKING:
    from collections.abc import Sequence

Backend = Literal["auto", "modelbest", "vllm", "sglang", "llamacpp", "ollama", "transformers", "generic"]
Dialect = Literal["modelbest", "vllm", "llamacpp", "transformers", "ollama"]
Talking = Literal["audio", "video"]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, metavar="N", help="Calls at a time.")]
IndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="Where the index is; else .minicpm in the folder.")
]
EmulatorOption = Annotated[bool, typer.Option("--emulator", help="Use the emulator, whatever is set.")]
Framework = Literal["core", "langchain", "llama-index"]

PhotoArgument = Annotated[
    Path | None, typer.Argument(metavar="PHOTO", exists=True, dir_okay=False, show_default=False, help="Your own.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="ID", help="Else MINICPM_MODEL, else a MiniCPM that the server offers."),
]
BaseUrlOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The server's API. Else MINICPM_BASE_URL, else the hosted API.")
]
BackendOption = Annotated[
    Backend | None, typer.Option(help="The kind of server. Else MINICPM_BACKEND, else it is found out.")
]
TimeoutOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="How long to wait for each step.")]
MaxTokensOption = Annotated[int | None, typer.Option(metavar="N", help="The most tokens to write, thoughts included.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one line of JSON instead.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"minicpm-integrations {__version__}")
        raise typer.Exit


@app.callback()
def minicpm(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """MiniCPM from the command line, on the hosted API or a server of your own.

    The key is read from MINICPM_API_KEY (or MODELBEST_API_KEY), and from nowhere else. There is no option for it, since
    a command line stays in the shell's history, and every user of the machine can read it while the command runs.

    Exit codes: 0 done; 1 the request failed; 2 wrong usage, setting or input, and nothing was sent; 130 Ctrl-C.
    """


@app.command("demo")
def demo_command(
    *,
    photo: PhotoArgument = None,
    emulator: EmulatorOption = False,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    backend: BackendOption = None,
    timeout: TimeoutOption = None,
    max_tokens: MaxTokensOption = None,
    debug: DebugOption = False,
) -> None:
    """A photograph, through LangChain and LlamaIndex.

    It is described through a LangChain chain and through a LlamaIndex LLM, streamed, with the thoughts apart, and what
    was sent is shown. Where neither a key nor a server is set, the emulator answers: it is not a model.
    """
    with reported(debug=debug) as screen:
        from minicpm_core.cli.demo import demo

        connection = Connection(model, base_url, backend, timeout)
        demo(photo, connection, emulator=emulator, max_tokens=max_tokens, screen=screen)


@app.command("ask")
def ask_command(
    *,
    photos: Annotated[
        list[str] | None, typer.Argument(metavar="PHOTO", show_default=False, help="Files; - is standard input.")
    ] = None,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In quotes; - is standard input.")],
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    backend: BackendOption = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Else as the model usually does.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(metavar="X", help="0 for the likeliest answer.")] = None,
    max_tokens: MaxTokensOption = None,
    timeout: TimeoutOption = None,
    framework: Annotated[Framework, typer.Option(help="Through what to ask.")] = "core",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask about pictures of your own, or about none.

    The answer goes to standard output as it comes; thoughts, counts and errors go to standard error.

    \b
    minicpm ask photo.jpg "What is this?"
    minicpm ask before.png after.png "What has changed?"
    minicpm ask - "What is this?" < photo.jpg
    minicpm ask photo.jpg - < question.txt
    """  # noqa: D301 - \b keeps typer from joining the lines below it
    with reported(debug=debug) as screen:
        from minicpm_core.cli.ask import ask
        from minicpm_core.cli.inputs import read_words

        asked = read_words([*(photos or ()), question])
        options = {"thinking": thinking, "temperature": temperature, "max_tokens": max_tokens}
        settings = Connection(model, base_url, backend, timeout).settings(thinking_model=bool(thinking)) | options
        ask(asked, settings, framework=framework, as_json=as_json, screen=screen)


@app.command("index")
def index_command(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Pictures and PDFs.")],
    index: IndexOption = None,
    jobs: Jobs = 8,
    emulator: EmulatorOption = False,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    backend: BackendOption = None,
    timeout: TimeoutOption = None,
    max_tokens: MaxTokensOption = None,
    debug: DebugOption = False,
) -> None:
    """Describe the pictures and PDF pages of a folder, for minicpm search.

    Run it again when something has changed, or after Ctrl-C: only what is new is described. Where neither a key nor a
    server is set, the emulator answers: it is not a model.
    """
    with reported(debug=debug) as screen:
        from minicpm_core.cli.index import index as describe

        connection = Connection(model, base_url, backend, timeout)
        describe(folder, index, connection, emulator=emulator, jobs=jobs, max_tokens=max_tokens, screen=screen)


@app.command("search")
def search_command(
    *,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In quotes.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", file_okay=False, help="What was indexed.")] = Path(),
    index: IndexOption = None,
    only_list: Annotated[bool, typer.Option("--list", "-l", help="Only show what fits; ask nothing.")] = False,
    hits: Annotated[int, typer.Option("--hits", min=1, metavar="N", help="The most to show.")] = 5,
    pictures: Annotated[int, typer.Option("--pictures", min=1, metavar="N", help="How many the model looks at.")] = 3,
    emulator: EmulatorOption = False,
    model: ModelOption = None,
    base_url: BaseUrlOption = None,
    backend: BackendOption = None,
    timeout: TimeoutOption = None,
    max_tokens: MaxTokensOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask about the pictures of a folder that was indexed.

    Those whose captions fit are shown, and the model answers with the best of them before it.

    \b
    minicpm index photos
    minicpm search "Where did we eat fish?" photos
    minicpm search --list "red car" photos
    """  # noqa: D301 - \b keeps typer from joining the lines below it
    with reported(debug=debug) as screen:
        from minicpm_core.cli.search import search

        search(
            question,
            folder,
            index,
            Connection(model, base_url, backend, timeout),
            emulator=emulator,
            hits=hits,
            pictures=pictures,
            only_list=only_list,
            max_tokens=max_tokens,
            as_json=as_json,
            screen=screen,
        )


@app.command("emulate")
def emulate_command(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    dialect: Annotated[Dialect, typer.Option(help="The kind of server to imitate.")] = "modelbest",
    pace: Annotated[float, typer.Option(min=0, help="Tokens a second of a stream; 0: as fast as possible.")] = 40.0,
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="A made-up key to ask for. Without it any will do, and none.")
    ] = None,
    context: Annotated[int, typer.Option(min=1, help="Tokens that a prompt may have.")] = 32_768,
    fault: Annotated[
        str | None, typer.Option(metavar="FAULT", help="Give every answer a fault, such as 'status=503'.")
    ] = None,
    parsers: Annotated[
        bool,
        typer.Option(
            "--parsers/--no-parsers",
            help="Without parsers thoughts and tool calls arrive in the text, and vLLM refuses tools.",
        ),
    ] = True,
    generation: Annotated[
        int, typer.Option(min=1, max=2, help="Of the realtime protocol; 1 is that of old gateways.")
    ] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Realtime sessions at once; others wait.")] = 64,
    audio_limit: Annotated[float, typer.Option(metavar="SECONDS", help="Of a realtime session by voice.")] = 600.0,
    video_limit: Annotated[float, typer.Option(metavar="SECONDS", help="Of a realtime session with video.")] = 300.0,
    speed: Annotated[float, typer.Option(help="How much faster the clock of realtime sessions goes.")] = 1.0,
    realtime_fault: Annotated[
        str | None,
        typer.Option(metavar="FAULT", help="Give every realtime session a fault, such as 'vanish; at=3'."),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Run the emulator until Ctrl-C.

    A small local server that speaks the protocol strictly, for trying things out without a key or a GPU. It is not a
    model: it measures pictures and answers by rule.
    """
    with reported(debug=debug) as screen:
        from minicpm_core.cli.emulate import emulate
        from minicpm_core.emulator import RealtimeEmulation

        emulate(
            host=host,
            port=port,
            dialect=dialect,
            pace=pace,
            api_key=api_key,
            context=context,
            fault=fault,
            parsers=parsers,
            realtime=RealtimeEmulation(
                generation=1 if generation == 1 else 2,
                workers=workers,
                audio_limit=audio_limit,
                video_limit=video_limit,
                speed=speed,
                fault=realtime_fault,
            ),
            screen=screen,
        )


@app.command("talk")
def talk_command(
    *,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A realtime gateway. Else MINICPM_REALTIME_URL, else the emulator."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--in", metavar="FILE", exists=True, dir_okay=False, help="The question. Else the microphone."),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="Write the answer to this WAV file.")
    ] = None,
    mode: Annotated[Talking, typer.Option(help="Whether it sees as well.")] = "audio",
    frames: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A picture or a video to see; several times."),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="What the model is told first.")] = None,
    generation: Annotated[int, typer.Option(min=1, max=2, help="Of the protocol; 1 for old gateways.")] = 2,
    wait: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="With --in: how long to wait for an answer.")
    ] = 20.0,
    speed: Annotated[
        float, typer.Option(min=0.1, max=100, help="With the emulator: how much faster than sound.")
    ] = 1.0,
    debug: DebugOption = False,
) -> None:
    """Talk with MiniCPM-o by voice.

    With a microphone and a loudspeaker (the extra [audio]) it is a conversation, until Ctrl-C. From a file the question
    is sent at the speed of speech, and the answer is written to another. What the model says is shown as it speaks.
    Where no gateway is named, the emulator answers: it is not a model.

    \b
    minicpm talk
    minicpm talk --in question.wav --out answer.wav
    minicpm talk --in question.wav --mode video --frames photo.jpg
    """  # noqa: D301 - as above
    with reported(debug=debug) as screen:
        from minicpm_core.cli.talk import talk

        talk(
            url=url,
            source=source,
            target=target,
            frames=frames or (),
            mode=mode,
            generation=1 if generation == 1 else 2,
            system_prompt=system,
            wait=wait,
            speed=speed,
            screen=screen,
        )


@app.command("models")
def models_command(
    *,
    base_url: BaseUrlOption = None,
    backend: BackendOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """What a server offers, and which backend it was taken for."""
    with reported(debug=debug) as screen:
        from minicpm_core.cli.models import models

        models(Connection(None, base_url, backend, timeout), as_json=as_json, screen=screen)


def run(arguments: Sequence[str]) -> int:
    """Run the command and give its exit code.

    Args:
        arguments: Those after the command's name.
    """
    tolerate_odd_characters()
    try:
        app(list(arguments), prog_name="minicpm")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        leave_stdout()
        return UNREAD
    return 0
