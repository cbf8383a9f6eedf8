"""Ask about a photograph through a LlamaIndex LLM, and show the thoughts apart from the answer.

    python examples/llama_index_photo.py [PHOTO [QUESTION]]

Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for a server of
your own (`minicpm emulate` starts one that needs no model).
"""

from __future__ import annotations

import sys
from pathlib import Path

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

from llama_index_minicpm import MiniCPM


def main(photo: str = "", question: str = "Describe this photograph.") -> None:
    """Ask, and print what comes as it comes."""
    path = Path(photo) if photo else Path(__file__).parent / "photos" / "coffee.jpg"

    # The picture is read, checked and turned upright when the message is sent.
    message = ChatMessage(role="user", blocks=[TextBlock(text=question), ImageBlock(path=path)])
    llm = MiniCPM(thinking=True, max_tokens=1024)

    shown = ""
    for response in llm.stream_chat([message]):
        # Thoughts come in a field of their own, whichever way the server told them apart.
        thought = response.additional_kwargs.get("thinking_delta", "")
        kind = "thoughts" if thought else "answer"
        if kind != shown and (thought or response.delta):
            shown = kind
            print(f"\n[{shown}]")
        print(thought or response.delta or "", end="", flush=True)
        if response.raw:  # the last one has the whole answer, and the counts
            print(f"\n\n{response.raw['usage']['total_tokens']} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
