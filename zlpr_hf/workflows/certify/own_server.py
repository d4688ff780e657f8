"""The server of ``zlpr serve`` in a thread of this process, to ask it over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import torch
import uvicorn

from zlpr_hf.inference.serving.app import create_app, load_classifier
from zlpr_hf.inference.serving.options import Limits
from zlpr_hf.inference.serving.server import UVICORN, bind

MAX_CHARACTERS = 1_000_000


@contextmanager
def serve_on_loopback(name: str | Path, **loading: Any) -> Iterator[str]:
    """Serve a model on a free port of the loopback, and yield the address.

    Args:
        name: Folder or Hub id.
        **loading: Options of :func:`zlpr_hf.inference.serving.app.load_classifier`.
    """
    classifier = load_classifier(name, threads=torch.get_num_threads(), **loading)
    app = create_app(classifier, limits=Limits(max_characters=MAX_CHARACTERS))
    bound = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, **UVICORN))
    thread = Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()
