"""HTTP servers that run a model, reached by URL: the request of each, and how it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.errors import InputError
from zlpr_hf.inference.windows import Texts

BATCH = 8
"""Texts per request."""
TIMEOUT = 300.0
TOKEN_VARIABLE = "ZLPR_SERVER_TOKEN"
"""Environment variable with a token for servers that want one."""
REFUSALS = (400, 413, 422, 424, 500)
"""Statuses that concern the texts of a request; others concern the server."""

Floats = NDArray[np.float32]
Row = Mapping[str, float] | Sequence[float]


@dataclass(frozen=True)
class Server:
    """The protocol of a server.

    Args:
        title: Its name in a table.
        path: Path of the classification request.
        body: Returns the request for some texts.
        answers: Returns one mapping from labels to values per text, or values in the order of
            ``id2label``.
        raw: Whether the values are logits, cut at 0, or scores, cut at 0.5.
        pairs: Whether a text may be a pair.
        decides: Whether it returns the predicted labels only, by a rule of its own.
    """

    title: str
    path: str
    body: Callable[[Texts], dict[str, Any]]
    answers: Callable[[Any], list[Row]]
    raw: bool
    pairs: bool = False
    decides: bool = False

    @property
    def cut(self) -> str:
        """How the values become labels."""
        if self.decides:
            return "as answered"
        return "raw score > 0" if self.raw else "score > 0.5"


def _labelled(answer: Sequence[Mapping[str, Any]]) -> Row:
    return {str(each["label"]): float(each["score"]) for each in answer}


def _first_texts(texts: Texts) -> list[str]:
    return [row[0] for row in texts]


def _inputs(texts: Texts) -> list[str | dict[str, str]]:
    return [row[0] if len(row) == 1 else {"text": row[0], "text_pair": row[1]} for row in texts]


SERVERS = {
    "zlpr": Server(
        "zlpr serve",
        "/predict",
        lambda texts: {"inputs": _inputs(texts)},
        lambda found: [_labelled(each) for each in found],
        raw=False,
        pairs=True,
        decides=True,
    ),
    "tei": Server(
        "Text Embeddings Inference",
        "/predict",
        # A list of two strings would be one pair.
        lambda texts: {
            "inputs": [list(row) for row in texts], "raw_scores": True, "truncate": True
        },
        lambda found: [_labelled(each) for each in found],
        raw=True,
        pairs=True,
    ),
    "infinity": Server(
        "Infinity",
        "/classify",
        lambda texts: {"input": _first_texts(texts)},
        lambda found: [_labelled(each) for each in found["data"]],
        raw=False,
    ),
    "vllm": Server(
        "vLLM",
        "/classify",
        lambda texts: {
            "input": _first_texts(texts), "use_activation": False, "truncate_prompt_tokens": -1
        },
        lambda found: [
            each["probs"] for each in sorted(found["data"], key=lambda each: int(each["index"]))
        ],
        raw=True,
    ),
    "pipeline": Server(
        "pipeline over HTTP",
        "/",
        lambda texts: {
            "inputs": _first_texts(texts), "parameters": {"top_k": None, "truncation": True}
        },
        lambda found: [_labelled(each) for each in found],
        raw=False,
    ),
}  # fmt: skip
"""Servers by their kinds in ``zlpr certify --servers``."""


@dataclass(frozen=True)
class ServerAddress:
    """A running server: its kind, one of :data:`SERVERS`, its address, and its name in a table."""

    kind: str
    url: str
    title: str

    @classmethod
    def parse(cls, word: str) -> ServerAddress:
        """Read ``KIND=URL`` or ``TITLE:KIND=URL``.

        Raises:
            InputError: If the kind is not one of :data:`SERVERS` or there is no URL.
        """
        name, _, url = word.partition("=")
        title, colon, kind = name.rpartition(":")
        if kind not in SERVERS or not url.startswith(("http://", "https://")):
            raise InputError(
                f"--servers: expected KIND=URL with KIND one of {', '.join(SERVERS)}, such as "
                f"tei=http://127.0.0.1:8080; got {word!r}"
            )
        return cls(kind, url.rstrip("/"), title if colon else SERVERS[kind].title)


def ask_server(
    server: Server, url: str, texts: Texts, labels: Sequence[str]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the values of a server for all labels, ``(N, L)``, and which texts it refused.

    A value is NaN for refused texts, and for labels that a server which decides does not predict.

    Args:
        server: Its protocol.
        url: Its address.
        texts: The texts.
        labels: Names of the model's outputs.

    Raises:
        InputError: If the server cannot be reached, or answers in another form.
    """
    values = np.full((len(texts), len(labels)), np.nan, np.float32)
    refused = np.zeros(len(texts), dtype=bool)
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        try:
            found = _post(server, url, batch)
        except _RefusedError:
            found = []
            for place, text in enumerate(batch, start):
                try:
                    found += _post(server, url, [text])
                except _RefusedError:
                    refused[place] = True
                    found.append([np.nan] * len(labels))
        for place, row in enumerate(found, start):
            if server.decides and isinstance(row, Mapping):
                row = dict.fromkeys(labels, np.nan) | dict(row)
            values[place] = _in_order(row, labels, f"{server.title}, {url}")
    if refused.all():
        raise InputError(f"{server.title}, {url}: refuses every text; is it the same model?")
    return values, refused


class _RefusedError(Exception):
    """A server refuses or fails a request."""


def _post(server: Server, url: str, texts: Texts) -> list[Row]:
    """Return the answers to some texts; proxies of the environment are not used."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get(TOKEN_VARIABLE):
        headers["Authorization"] = f"Bearer {token}"
    request = Request(url + server.path, json.dumps(server.body(texts)).encode(), headers)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT) as response:
            found = json.loads(response.read())
        answers = server.answers(found)
    except HTTPError as error:
        if error.code in REFUSALS:
            raise _RefusedError from error
        raise InputError(f"{server.title}, {url}: {error}") from error
    except (TimeoutError, URLError, HTTPException, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"{server.title}, {url}: no answer ({reason}); start the server first"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{server.title}, {url}: answers in another form than expected; is it this server?"
        ) from error
    if len(answers) != len(texts):
        raise InputError(
            f"{server.title}, {url}: expected {len(texts)} answers, got {len(answers)}"
        )
    return answers


def _in_order(row: Row, labels: Sequence[str], place: str) -> Sequence[float]:
    if not isinstance(row, Mapping):
        if len(row) != len(labels):
            raise InputError(f"{place}: expected {len(labels)} values per text, got {len(row)}")
        return row
    if set(row) != set(labels):
        other = min(set(row) ^ set(labels))
        raise InputError(
            f"{place}: its labels are not those of the model (such as {other!r:.80}); serve the "
            "same model, and let it return all labels"
        )
    return [row[label] for label in labels]
