"""The server processes of ``zlpr serve``: workers, their threads, logs and shutdown."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

import uvicorn

from zlpr_hf.errors import InputError
from zlpr_hf.inference.serving.app import create_app, load_classifier
from zlpr_hf.inference.serving.metrics import Metrics
from zlpr_hf.inference.serving.options import ServerOptions

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from zlpr_hf.inference.classifier import Classifier
    from zlpr_hf.inference.onnx_classifier import OnnxClassifier

STARTUP_FAILURE = 3
"""Exit status of a worker that the parent does not start again."""
UVICORN: dict[str, Any] = {"log_config": None, "access_log": False}
"""Options of uvicorn; each request has a line in the log of its own."""

logger = logging.getLogger(__name__)


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
        _announce(options, bound)
        return _run_workers(options, bound, Path(folder))


def _run_workers(options: ServerOptions, bound: socket.socket, folder: Path) -> int:
    """Keep the workers running until a signal ends them; return 1 if one cannot load the model.

    The supervisor of uvicorn notices a killed worker only after a time-out if it waits for the
    worker's sign of life just then.
    """
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.append(number))
    context = get_context("spawn")

    def start() -> SpawnProcess:
        worker = context.Process(target=_work, args=(options, bound, folder))
        worker.start()
        return worker

    workers, failed = [start() for _ in range(options.workers)], False
    while not signals and not failed:
        wait([worker.sentinel for worker in workers], timeout=0.5)
        for place, worker in enumerate(workers):
            if worker.exitcode == STARTUP_FAILURE:
                failed = True
            elif worker.exitcode is not None and not signals:
                about = {"worker": worker.pid, "status": worker.exitcode}
                logger.error("worker died and is replaced", extra={"fields": about})
                workers[place] = start()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
    return int(failed)


def _work(options: ServerOptions, bound: socket.socket, folder: Path) -> None:
    """Serve in a worker process, which ends with its parent."""
    _log_json_lines(options.log_level)
    try:
        classifier = _load(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(STARTUP_FAILURE)
    except Exception:  # a worker that cannot load must not be replaced for ever
        logger.exception("the model cannot be loaded")
        sys.exit(STARTUP_FAILURE)
    Thread(target=_end_with_parent, daemon=True).start()
    app = create_app(classifier, limits=options.limits, metrics=Metrics(folder))
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=[bound])


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


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
