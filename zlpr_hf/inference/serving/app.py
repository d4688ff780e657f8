"""The HTTP interface of a classifier: labels of texts, label names, health and metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from starlette.requests import ClientDisconnect

from zlpr_hf.choices import Backend
from zlpr_hf.errors import InputError
from zlpr_hf.inference.decision import decision_rule
from zlpr_hf.inference.given_inputs import read_inputs
from zlpr_hf.inference.onnx_classifier import OnnxClassifier
from zlpr_hf.inference.onnx_session import uses_onnx
from zlpr_hf.inference.serving.batcher import Batcher, QueueFullError
from zlpr_hf.inference.serving.metrics import STATUSES, Metrics
from zlpr_hf.inference.serving.options import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from zlpr_hf.inference.classifier import Classifier

logger = logging.getLogger(__name__)

BODY_SECONDS = 30.0
"""A client that sends its request more slowly is not waited for."""
RETRY_SECONDS = 1
"""Value of Retry-After when the queue is full: most queues are empty again by then."""
TEXT = {"type": "string"}
PAIR = {
    "type": "object",
    "properties": {"text": TEXT, "text_pair": TEXT},
    "required": ["text"],
    "additionalProperties": False,
}
ONE_INPUT = {"anyOf": [TEXT, PAIR]}
INPUTS = {"anyOf": [TEXT, PAIR, {"type": "array", "items": ONE_INPUT, "minItems": 1}]}


class Parameters(BaseModel):
    """Options of one request; see ``zlpr_hf.Classifier.decide``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: float = 0.5
    top_k: int | None = None
    min_labels: int | None = None


class PredictRequest(BaseModel):
    """A text or a pair of texts, or a list of either, and options."""

    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: Annotated[Any, WithJsonSchema(INPUTS)]
    parameters: Parameters = Field(default_factory=Parameters)


class Label(BaseModel):
    """A predicted label; ``score`` is ``sigmoid(logit)``."""

    label: str
    score: float


def load_classifier(
    name: str | Path,
    *,
    backend: Backend = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    threads: int = 1,
) -> Classifier | OnnxClassifier:
    """Load a model; torch is not imported for an exported one.

    Raises:
        InputError: If there is no such model, or it is not a multi-label classifier.
    """
    if uses_onnx(Path(name).expanduser(), backend):
        return OnnxClassifier.load(name, threads=threads)
    import torch

    from zlpr_hf.inference.classifier import Classifier

    torch.set_num_threads(threads)
    return Classifier.load(
        name, backend=backend, revision=revision, trust_remote_code=trust_remote_code
    )


def create_app(
    model: Classifier | OnnxClassifier | str | Path,
    *,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Return the application that serves a model, for uvicorn or any other ASGI server.

    Args:
        model: A loaded classifier, or its folder or Hub id.
        limits: Requests that are accepted (default: those of :class:`Limits`).
        metrics: Counters (default: new ones).
    """
    limits, metrics = limits or Limits(), metrics or Metrics()
    classifier = load_classifier(model) if isinstance(model, (str, Path)) else model
    names = list(classifier.label_space.names)
    batcher = Batcher(
        classifier,
        batch_size=limits.batch_size,
        max_queue=limits.max_queue,
        long_texts=limits.long_texts,
        on_batch=lambda texts: metrics.observe("zlpr_batch_texts", texts),
    )

    @asynccontextmanager
    async def stop_at_the_end(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001
        yield
        batcher.stop()

    app = FastAPI(title="zlpr serve", version=version("zlpr_hf"), lifespan=stop_at_the_end)
    app.add_middleware(RequestLog, metrics=metrics)

    @app.post(
        "/predict",
        summary="Predict the labels of texts",
        response_model=list[Label] | list[list[Label]],
        responses=_ERRORS,
        openapi_extra={"requestBody": _describe_request()},
    )
    async def predict(request: Request) -> JSONResponse:
        given = _read_request(await _read_body(request, limits.max_body))
        one = not isinstance(given.inputs, list)
        try:
            rows = read_inputs([given.inputs] if one else given.inputs)
            rule = decision_rule(classifier.thresholds, len(names), **dict(given.parameters))
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        _check_size(rows, limits)
        try:
            answers = await batcher.answer(rows, rule)
        except QueueFullError:
            raise HTTPException(
                503,
                f"{batcher.texts} texts are waiting, the limit is {limits.max_queue}; try again",
                {"Retry-After": str(RETRY_SECONDS)},
            ) from None
        except InputError as error:  # the request is valid, the weights are not
            raise HTTPException(500, str(error)) from None
        except Exception as error:  # logged without its message, which may quote a text
            logger.error("the model failed", extra={"fields": {"error": type(error).__name__}})
            raise HTTPException(500, "the model failed; see the log of the server") from None
        metrics.add("zlpr_texts_total", len(rows))
        metrics.add("zlpr_labels_total", sum(map(len, answers)))
        request.scope["texts"] = len(rows)
        return JSONResponse(answers[0] if one else answers)

    @app.get("/labels", summary="List the labels in the order of the logits")
    async def labels() -> list[str]:
        return names

    @app.get("/health", summary="Check that the model is loaded")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Counters for Prometheus", response_class=PlainTextResponse)
    async def read_metrics() -> PlainTextResponse:
        metrics.set("zlpr_queue_texts", batcher.texts)
        return PlainTextResponse(metrics.render(), media_type="text/plain; version=0.0.4")

    return app


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is not JSON."},
    408: {"description": "The request did not arrive in time."},
    413: {"description": "The request, a text or the number of texts is too large."},
    422: {"description": "A field is missing, unknown, of a wrong type or out of range."},
    500: {"description": "The model failed for this request."},
    503: {"description": "The queue is full; try again after Retry-After seconds."},
}


def _describe_request() -> dict[str, Any]:
    schema = PredictRequest.model_json_schema()
    schema["properties"]["parameters"] = schema.pop("$defs")["Parameters"]
    return {"required": True, "content": {"application/json": {"schema": schema}}}


async def _read_body(request: Request, most: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413, f"the request is larger than {most:,} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the request is incomplete") from None
    except TimeoutError:
        raise HTTPException(408, f"the request took longer than {BODY_SECONDS:g} s") from None
    return bytes(body)


def _read_request(body: bytes) -> PredictRequest:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise HTTPException(400, f"the request is not JSON: {reason}") from None
    if not isinstance(found, dict):
        raise HTTPException(422, 'request: expected an object with the field "inputs"')
    try:
        return PredictRequest.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise HTTPException(422, f"{place}: {first['msg']}") from None


def _check_size(rows: Sequence[tuple[str, ...]], limits: Limits) -> None:
    if not rows:
        raise HTTPException(422, "inputs: expected at least one text, got an empty list")
    if len(rows) > limits.max_texts:
        raise HTTPException(413, f"inputs: {len(rows)} texts, the limit is {limits.max_texts}")
    for position, row in enumerate(rows):
        size = sum(map(len, row))
        if size > limits.max_characters:
            raise HTTPException(
                413, f"input {position}: {size} characters, the limit is {limits.max_characters}"
            )


class RequestLog:
    """Counts each request and logs it without its texts."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, remember)
        finally:
            seconds = time.perf_counter() - started
            counted = status if status in STATUSES else 500
            self._metrics.add(f'zlpr_requests_total{{status="{counted}"}}')
            if scope["path"] == "/predict":
                self._metrics.observe("zlpr_request_seconds", seconds)
            about = {
                "method": scope["method"],
                "path": scope["path"] if status != 404 else "",
                "status": status,
                "texts": scope.get("texts", 0),
                "milliseconds": round(1000 * seconds, 1),
            }
            logger.info("request", extra={"fields": about})
