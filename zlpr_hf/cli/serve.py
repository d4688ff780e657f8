"""``zlpr serve``: a model as an HTTP server."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from zlpr_hf.cli.parser import CommandParser, add_shared, count_type
from zlpr_hf.distributed import announce_loading
from zlpr_hf.errors import InputError
from zlpr_hf.inference.serving.options import SERVER_PACKAGES, Limits, ServerOptions


def _parser() -> CommandParser:
    parser = CommandParser(
        "zlpr serve",
        description="Serve a model over HTTP: POST /predict, GET /labels, /health, /metrics, and\n"
        "/docs, a page to try them. An exported folder needs no torch.",
        example="zlpr serve out/quickstart --port 8000",
    )
    parser.add_argument("model", help="folder or Hub id of a classifier, or an exported folder")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 admits other machines")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free port")
    add = parser.add_argument_group("processes").add_argument
    add("--workers", type=count_type(1), default=1, help="processes; each loads the model")
    add(
        "--threads",
        type=count_type(1),
        help="threads of the model per worker (default: processors divided by workers)",
    )
    add("--log_level", choices=("info", "warning"), default="info", help="info logs each request")
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    add("--max_texts", type=count_type(1), default=Limits.max_texts, help="texts per request")
    most = Limits.max_characters
    add("--max_characters", type=count_type(1), default=most, help="characters per text")
    add("--max_body", type=count_type(1), default=Limits.max_body, help="bytes per request")
    most = Limits.max_queue
    add("--max_queue", type=count_type(1), default=most, help="texts that wait; more gets 503")
    reading = parser.add_argument_group("reading")
    add_shared(reading, "long_texts", "batch_size", "backend", "revision", "trust_remote_code")
    return parser


def run(argv: list[str], program: Sequence[str]) -> int:  # noqa: ARG001
    """Serve the model until the process is stopped; return 1 if no worker could load it."""
    options = _parser().parse_args(argv)
    if any(find_spec(name) is None for name in SERVER_PACKAGES):
        raise InputError('zlpr serve requires fastapi and uvicorn: pip install "zlpr_hf[serve]"')
    from zlpr_hf.inference.serving.server import bind, run_server

    limits = Limits(
        batch_size=options.batch_size,
        max_texts=options.max_texts,
        max_characters=options.max_characters,
        max_body=options.max_body,
        max_queue=options.max_queue,
        long_texts=options.long_texts,
    )
    bound = bind(options.host, options.port)
    announce_loading()
    return run_server(
        ServerOptions(
            options.model,
            backend=options.backend,
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
            workers=options.workers,
            threads=options.threads,
            limits=limits,
            log_level=options.log_level,
        ),
        bound,
    )
