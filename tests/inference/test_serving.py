"""zlpr serve: answers of the pipeline over HTTP, limits, back-pressure, workers and shutdown."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from benchmarks.tiny_models import find_classes, save_encoder
from tests.builders import WORDS
from tests.server_process import ServerProcess
from zlpr_hf import Classifier, InputError, LabelSpace, Thresholds, load_pipeline, load_tokenizer
from zlpr_hf.cli.main import main
from zlpr_hf.inference.onnx_classifier import FastTokenizer, OnnxClassifier
from zlpr_hf.inference.serving.app import create_app
from zlpr_hf.inference.serving.metrics import Metrics
from zlpr_hf.inference.serving.options import Limits
from zlpr_hf.inference.windows import Texts, split_into_windows

LONG = " ".join(WORDS * 6)
TEXTS = ["red sky", "", "a green fish and a blue bird runs", LONG, "[SEP] blue", "red green blue"]
PAIRS = [{"text": one, "text_pair": two} for one, two in zip(TEXTS, TEXTS[::-1], strict=True)]
HEAVY = (
    "torch", "transformers", "datasets", "pandas", "pyarrow", "sklearn", "scipy", "accelerate",
    "huggingface_hub", "evaluate", "matplotlib", "tqdm", "rich", "yaml", "jinja2", "safetensors",
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(finished: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "colours-onnx"
    assert main(["export", str(finished[0]), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def classify(finished: tuple[Path, Any]) -> Any:
    return load_pipeline(finished[0])


@pytest.fixture(scope="module")
def client(classify: Any) -> Iterator[TestClient]:
    limits = Limits(max_texts=8, max_characters=2000, max_body=20_000, max_queue=8)
    with TestClient(create_app(classify.classifier, limits=limits)) as found:
        yield found


@pytest.mark.parametrize("inputs", ["red sky", ["red sky"], TEXTS, PAIRS[0], PAIRS])
@pytest.mark.parametrize(
    "parameters", [{}, {"threshold": 0}, {"threshold": 0.2, "top_k": 1}, {"min_labels": 2}]
)
def test_answers_are_those_of_the_pipeline(
    client: TestClient, classify: Any, inputs: Any, parameters: dict[str, Any]
) -> None:
    answer = client.post("/predict", json={"inputs": inputs, "parameters": parameters})
    assert answer.status_code == 200
    assert answer.json() == classify(inputs, **parameters)


def test_labels_are_in_the_order_of_the_logits(client: TestClient, classify: Any) -> None:
    assert client.get("/labels").json() == list(classify.classifier.label_space.names)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"inputs": ', 400),
        (b"\xff\xfe", 400),
        (b"[" * 9000, 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"inputs": 3}', 422),
        (b'{"inputs": []}', 422),
        (b'{"inputs": ["red", {"text": "a", "text_pair": "b"}]}', 422),
        (b'{"inputs": [["a", "b"]]}', 422),
        (b'{"inputs": {"text": "a", "pair": "b"}}', 422),
        (b'{"inputs": "\\ud800"}', 422),
        (b'{"text": "red"}', 422),
        (b'{"inputs": "red", "top_k": 1}', 422),
        (b'{"inputs": "red", "parameters": {"top_k": 0}}', 422),
        (b'{"inputs": "red", "parameters": {"top_k": true}}', 422),
        (b'{"inputs": "red", "parameters": {"min_labels": 4}}', 422),
        (b'{"inputs": "red", "parameters": {"threshold": "0.5"}}', 422),
        (b'{"inputs": "red", "parameters": {"threshold": NaN}}', 422),
        (b'{"inputs": "red", "parameters": {"treshold": 0.5}}', 422),
        (json.dumps({"inputs": ["red"] * 9}).encode(), 413),
        (json.dumps({"inputs": "r" * 2001}).encode(), 413),
        (json.dumps({"inputs": "red", "more": "r" * 20_000}).encode(), 413),
    ],
)
def test_wrong_requests_are_refused(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/predict", content=body)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_description_names_the_fields(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert list(paths) == ["/predict", "/labels", "/health", "/metrics"]
    (content,) = paths["/predict"]["post"]["requestBody"]["content"].values()
    assert content["schema"]["required"] == ["inputs"]
    parameters = content["schema"]["properties"]["parameters"]["properties"]
    assert list(parameters) == ["threshold", "top_k", "min_labels"]


def test_mounted_application_answers(classify: Any) -> None:
    whole = FastAPI()
    whole.mount("/labels", create_app(classify.classifier))
    client = TestClient(whole)  # without a lifespan, and with an event loop for each request
    for text in ("red sky", "green"):
        assert client.post("/labels/predict", json={"inputs": text}).json() == classify(text)


class Slow:
    """A classifier that waits for ``go``, and fails for a text with ``fail`` in it."""

    label_space = LabelSpace(("short", "long"))
    thresholds = Thresholds()

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[int] = []

    def compute_logits(self, texts: Texts, **options: Any) -> NDArray[np.float32]:
        assert self.go.wait(30)
        self.batches.append(len(texts))
        if any("fail" in row[0] for row in texts):
            raise ValueError("fail: a private text")
        sizes = np.array([len(row[0]) for row in texts], np.float32)
        return np.stack([8 - sizes, sizes - 8], 1)


def post(client: TestClient, text: str) -> Any:
    return client.post("/predict", json={"inputs": text})


def wait_for_queue(client: TestClient, texts: int) -> None:
    while f"zlpr_queue_texts {texts}\n" not in client.get("/metrics").text:
        time.sleep(0.01)


def test_waiting_requests_share_batches_and_a_full_queue_is_503() -> None:
    model: Any = Slow()
    limits = Limits(max_texts=4, max_queue=6)
    with TestClient(create_app(model, limits=limits)) as client, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(post, client, "a" * size) for size in (5, 6, 7, 9, 10, 11)]
        wait_for_queue(client, 6)
        refused = post(client, "one more")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 200
        model.go.set()
        found = [answer.result().json()[0]["label"] for answer in answers]
        assert found == ["short"] * 3 + ["long"] * 3
        assert post(client, "one more").status_code == 200
    assert len(model.batches) <= 3
    assert sum(model.batches) == 7


def test_a_failing_text_fails_its_own_request_only(caplog: pytest.LogCaptureFixture) -> None:
    model: Any = Slow()
    with TestClient(create_app(model)) as client, ThreadPoolExecutor(8) as pool:
        texts = ["first", "a", "fail", "b" * 9]
        with caplog.at_level(logging.INFO, "zlpr_hf"):
            answers = [pool.submit(post, client, text) for text in texts]
            wait_for_queue(client, 4)
            model.go.set()
            assert [answer.result().status_code for answer in answers] == [200, 200, 500, 200]
        assert 'zlpr_requests_total{status="500"} 1\n' in client.get("/metrics").text
    assert "private" not in caplog.text


def test_counters_are_summed_over_workers_and_gauges_over_living_ones(tmp_path: Path) -> None:
    ours = Metrics(tmp_path)
    other = np.fromfile(tmp_path / str(os.getpid()), np.float64)
    ours.add("zlpr_texts_total", 3)
    ours.set("zlpr_queue_texts", 2)
    ours.observe("zlpr_request_seconds", 0.02)
    other[:] = 10
    other.tofile(tmp_path / "4194305")  # above the largest id of a process
    lines = ours.render().splitlines()
    assert "zlpr_texts_total 13" in lines
    assert "zlpr_queue_texts 2" in lines
    assert 'zlpr_request_seconds_bucket{le="0.01"} 10' in lines
    assert 'zlpr_request_seconds_bucket{le="0.025"} 11' in lines
    assert "zlpr_request_seconds_count 11" in lines


def test_limits_must_fit_together() -> None:
    with pytest.raises(InputError):
        Limits(max_texts=10, max_queue=9)


@pytest.mark.parametrize("long_texts", ["cut", "mean", "max"])
@pytest.mark.parametrize("inputs", [TEXTS, PAIRS])
def test_exported_model_has_the_same_logits_without_torch(
    exported: Path, inputs: list[Any], long_texts: Any
) -> None:
    rows = [(each,) if isinstance(each, str) else tuple(each.values()) for each in inputs]
    found = OnnxClassifier.load(exported, threads=1).compute_logits(rows, long_texts=long_texts)
    expected = Classifier.load(exported).compute_logits(rows, long_texts=long_texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["Roberta", "MPNet", "XLNet", "Llama"])
def test_tokenizer_without_transformers_makes_the_same_batches(family: str, tmp_path: Path) -> None:
    name = next(each for each in find_classes() if each.startswith(f"{family}For"))
    save_encoder(name, tmp_path / "encoder")
    tokenizer = load_tokenizer(str(tmp_path / "encoder"))
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(tmp_path)
    found = FastTokenizer.load(tmp_path, pad_id=tokenizer.pad_token_id)
    singles = [(text,) for text in TEXTS]
    for rows in (singles, [tuple(pair.values()) for pair in PAIRS]):
        for cut in (True, False):
            expected, places = split_into_windows(tokenizer, rows, cut=cut)
            windows, same_places = split_into_windows(found, rows, cut=cut)
            np.testing.assert_array_equal(same_places, places)
            batches = [
                tokenizer.pad(
                    [each for each in expected if each["input_ids"]], return_tensors="np"
                ),
                found.pad([each for each in windows if each["input_ids"]]),
            ]
            for field in batches[0]:
                np.testing.assert_array_equal(batches[1][field], batches[0][field])


def test_server_without_torch_answers_and_stops_after_its_requests(
    exported: Path, tmp_path: Path
) -> None:
    classify = load_pipeline(exported)
    with ServerProcess(tmp_path, exported, without=HEAVY) as server:
        for parameters in ({}, {"threshold": 0.1}):
            status, found = server.predict(TEXTS, **parameters)
            assert status == 200
            for ours, theirs in zip(found, classify(TEXTS, **parameters), strict=True):
                assert [each["label"] for each in ours] == [each["label"] for each in theirs]
                scores = [each["score"] for each in theirs]
                assert [each["score"] for each in ours] == pytest.approx(scores, abs=1e-6)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(server.predict, [LONG] * 256) for _ in range(4)]
            while '"status": 200, "texts": 256' not in server.log.read_text():
                time.sleep(0.005)
            server.process.terminate()
            assert [answer.result()[0] for answer in answers] == [200] * 4
        server.process.wait(60)
    log = server.log.read_text()
    assert not [text for text in TEXTS if text and text in log]
    requests = [line for line in server.lines() if line["event"] == "request"]
    assert sum(line["texts"] for line in requests) == 2 * len(TEXTS) + 4 * 256


def workers_of(server: ServerProcess) -> list[int]:
    """Process ids of the workers that were ready so far."""
    return [x["process"] for x in server.lines() if "startup complete" in x["event"]]


def test_killed_worker_is_replaced(exported: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, exported, "--workers=2") as server:
        while len(workers_of(server)) < 2:
            time.sleep(0.05)
        os.kill(workers_of(server)[0], signal.SIGKILL)
        while len(workers_of(server)) < 3:
            time.sleep(0.05)
        assert server.predict("red sky")[0] == 200
    assert server.process.returncode == 0


def test_worker_ends_with_its_parent(exported: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, exported, "--workers=2") as server:
        (worker, *_) = workers_of(server)
        server.process.kill()
        while not any("Finished" in x["event"] and x["process"] == worker for x in server.lines()):
            time.sleep(0.05)


def test_a_model_that_no_worker_can_load_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    server = ServerProcess(tmp_path, tmp_path / "model", "--workers=2", "--backend=onnxruntime")
    assert server.process.wait(60) == 1
    assert "error: " in server.log.read_text()
