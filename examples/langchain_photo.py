"""Ask about a photograph through a LangChain chain, and show the thoughts apart from the answer.

    python examples/langchain_photo.py [PHOTO [QUESTION]]

Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for a server of
your own (`minicpm emulate` starts one that needs no model).
"""

from __future__ import annotations

import sys
from pathlib import Path

from langchain_core.prompts import ChatPromptTemplate

from langchain_minicpm import ChatMiniCPM, image_block


def main(photo: str = "", question: str = "Describe this photograph.") -> None:
    """Ask, and print what comes as it comes."""
    path = Path(photo) if photo else Path(__file__).parent / "photos" / "coffee.jpg"

    # The picture is read, checked and turned upright here; the chain then holds plain JSON.
    prompt = ChatPromptTemplate([("human", ["{question}", image_block(path)])])
    model = ChatMiniCPM(thinking=True, max_tokens=1024)
    chain = prompt | model

    shown = ""
    for chunk in chain.stream({"question": question}):
        # A chunk's blocks are thoughts or text, whichever way the server told them apart.
        for block in chunk.content_blocks:
            if block["type"] != shown:
                shown = block["type"]
                print(f"\n[{shown}]")
            print(block.get("reasoning") or block.get("text") or "", end="", flush=True)
        if chunk.usage_metadata:  # once, at the end
            print(f"\n\n{chunk.usage_metadata['total_tokens']} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
