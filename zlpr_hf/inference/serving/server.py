"""The server processes of ``zlpr serve``: workers, their threads, logs and shutdown."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from zlpr_hf.choices import Backend
from zlpr_hf.errors import InputError
from zlpr_hf.inference.serving.app import Limits, create_app, load_classifier
from zlpr_hf.inference.serving.metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI

    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.onnx_classifier import OnnxClassifier

STARTUP_FAILURE = 3
"""Exit status of a worker that the parent does not start again."""
UVICORN: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "timeout_worker_healthcheck": 30,  # seconds; a worker that loads a model may be silent
}
"""Options of uvicorn; each request has a line in the log of its own."""


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


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket, before the model is loaded; connections are refused until then.

    Raises:
        InputError: If the address is taken or unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"--host {host} --port {port}: {reason}") from error
    bound.set_inheritable(True)
    return bound


def run_server(options: ServerOptions, bound: socket.socket) -> int:
    """Serve until the process is stopped; accepted requests are answered first.

    Returns:
        1 if the workers could not load the model, else 0.
    """
    _log_json_lines(options.log_level)
    if options.workers == 1:
        app = create_app(_load(options), limits=options.limits)
        _announce(options, bound)
        uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=[bound])
        return 0
    with TemporaryDirectory(prefix="zlpr-serve-") as folder:
        build = partial(_build_app, options, Path(folder))
        config = uvicorn.Config(build, factory=True, workers=options.workers, **UVICORN)
        _announce(options, bound)
        parent = Multiprocess(config, sockets=[bound])
        parent.run()
        return int(any(each.exitcode == STARTUP_FAILURE for each in parent.processes))


def _announce(options: ServerOptions, bound: socket.socket) -> None:
    host, port = bound.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(f"{options.model}: http://{address}/docs (Ctrl+C ends it)", flush=True)


def _load(options: ServerOptions) -> Classifier | OnnxClassifier:
    return load_classifier(
        options.model,
        backend=options.backend,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        threads=options.threads or max(1, _count_processors() // options.workers),
    )


def _build_app(options: ServerOptions, folder: Path) -> FastAPI:
    """Load the model in a worker, whose parent stops if it cannot be loaded."""
    _log_json_lines(options.log_level)
    try:
        classifier = _load(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(STARTUP_FAILURE)  # at once: a worker that ends slowly would be waited for
    return create_app(classifier, limits=options.limits, metrics=Metrics(folder))


def _count_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class JsonLines(logging.Formatter):
    """Writes records as JSON, with the mapping ``fields`` of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _log_json_lines(level: str) -> None:
    """Write the logs of the server and of uvicorn to standard error, one JSON object per line."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("zlpr_hf", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
