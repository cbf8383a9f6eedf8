"""Which server and which model: from options, the environment, and what the server offers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicpm_core.client import MiniCPMClient
from minicpm_core.config import BASE_URL_VARIABLE, KEY_VARIABLES, MODEL_VARIABLE
from minicpm_core.errors import APIError
from minicpm_core.models import DEFAULT_MODEL, card_for

if TYPE_CHECKING:
    from minicpm_core.types import ModelInfo

THINKING_MODEL = "MiniCPM-V-4.6-Thinking"
"""What the demo asks on the hosted API, so that thoughts are seen too."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to ask, as the options say it; `None` leaves it to the environment.

    Attributes:
        model: The model's id.
        base_url: Of the API.
        backend: The kind of server.
        timeout: Seconds, for each step.
    """

    model: str | None = None
    base_url: str | None = None
    backend: str | None = None
    timeout: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether the options or the environment name a server, or hold a key for the hosted one."""
        return bool(self.base_url) or any(os.environ.get(name) for name in (BASE_URL_VARIABLE, *KEY_VARIABLES))

    def client(self) -> MiniCPMClient:
        """A client for that server.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        return MiniCPMClient(model=self.model, base_url=self.base_url, backend=self.backend, timeout=self.timeout)

    def settings(self, *, thinking_model: bool = False) -> dict[str, Any]:
        """Settings for the core's client and for both adapters, with a model in any case.

        Args:
            thinking_model: Where nothing names the model, prefer one that thinks.

        Raises:
            ConfigurationError: A setting cannot be.
            APIError: The server could not be reached to find out what it is.
        """
        with self.client() as client:
            backend = client.backend()
            named = self.model or os.environ.get(MODEL_VARIABLE)
            model = named or _choose(client, hosted=backend.resolves_aliases, thinking=thinking_model)
            return {
                "model": model,
                "base_url": client.config.base_url,
                "backend": backend.name,
                "timeout": self.timeout,
            }


def _choose(client: MiniCPMClient, *, hosted: bool, thinking: bool) -> str:
    """A model where nobody names one: on the hosted API the default, elsewhere what the server offers."""
    usual = THINKING_MODEL if thinking else DEFAULT_MODEL
    if hosted:
        return usual
    try:
        offered = client.list_models()
    except APIError:
        return usual  # a server need not tell; what is wrong with it, the request itself will say
    return best_of(offered, thinking=thinking) or usual


def best_of(offered: list[ModelInfo], *, thinking: bool) -> str | None:
    """The id to ask for among those that a server offers, or `None` where none stands out.

    The first MiniCPM counts, one that thinks (or does not) as wanted before the others; a model that is the only one
    counts under any name.
    """
    known = [row.id for row in offered if card_for(row.id).known]
    fitting = [model for model in known if card_for(model).thinking_default == thinking]
    if fitting or known:
        return (fitting or known)[0]
    return offered[0].id if len(offered) == 1 else None
