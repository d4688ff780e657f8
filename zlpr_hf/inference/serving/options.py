"""Options of ``zlpr serve``; they need no package of the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from zlpr_hf.choices import Backend, LongTexts
from zlpr_hf.errors import InputError

SERVER_PACKAGES = ("fastapi", "uvicorn")
"""Packages of the extra ``serve``."""


@dataclass(frozen=True)
class Limits:
    """Requests that are accepted, and how they are computed.

    Args:
        batch_size: Texts per batch of the model.
        max_texts: Texts per request.
        max_characters: Characters per text; a pair counts as one text.
        max_body: Bytes per request.
        max_queue: Texts that may wait or be computed at a time.
        long_texts: How long texts are read (default: as stored in the model).
    """

    batch_size: int = 32
    max_texts: int = 256
    max_characters: int = 100_000
    max_body: int = 4_000_000
    max_queue: int = 1024
    long_texts: LongTexts | None = None

    def __post_init__(self) -> None:
        if self.max_queue < self.max_texts:
            raise InputError(
                f"max_queue {self.max_queue}: expected at least max_texts ({self.max_texts})"
            )


@dataclass(frozen=True)
class ServerOptions:
    """A model and how many processes serve it.

    Args:
        model: Folder or Hub id of a classifier, or an exported folder.
        backend: Library that runs the model.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code that comes with the model.
        workers: Processes; each loads the model.
        threads: Threads of the model per worker (default: processors divided by workers).
        limits: Requests that are accepted.
        log_level: Lowest level of the lines in the log.
    """

    model: str
    backend: Backend = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    workers: int = 1
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"
