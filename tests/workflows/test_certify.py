"""zlpr certify: equal label sets in every backend, and honest tables where they differ."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.families import save_family
from zlpr_hf import (
    Classifier,
    InputError,
    LabelSets,
    LabelSpace,
    Thresholds,
    load_model,
    load_tokenizer,
)
from zlpr_hf.cli.main import main
from zlpr_hf.inference.model_folder import write_folder
from zlpr_hf.reports.certificate import CARD_MARKS
from zlpr_hf.reports.model_card import escape_markdown
from zlpr_hf.workflows.certify import backends
from zlpr_hf.workflows.certify.backends import to_answers
from zlpr_hf.workflows.certify.servers import SERVERS, ServerAddress, ask_server
from zlpr_hf.workflows.certify.texts import sample_texts

pytest.importorskip("onnxruntime")
HARD_CASES = 14
LABELS = LabelSpace(("red", "green", "blue"))


@pytest.fixture(scope="module")
def model(finished: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a trained model: its card is changed."""
    return Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("certify") / "colours"))


class StockModel:
    """Logits of transformers, without anything of this package."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForSequenceClassification.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.tokens: set[str | None] = set()

    @torch.no_grad()
    def __call__(self, *columns: list[str]) -> list[list[dict[str, Any]]]:
        batch = self.tokenizer(*columns, padding=True, truncation=True, return_tensors="pt")
        names = self.model.config.id2label
        return [
            [{"label": names[i], "score": value} for i, value in enumerate(row)]
            for row in self.model(**batch).logits.tolist()
        ]


def scored(rows: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Sigmoid scores, best first, as servers return them."""
    found = [[{**each, "score": 1 / (1 + np.exp(-each["score"]))} for each in row] for row in rows]
    return [sorted(row, key=lambda each: -each["score"]) for row in found]


def answer(stock: StockModel, path: str, request: dict[str, Any]) -> tuple[int, Any]:
    """Answer as the servers do, by their documentation."""
    if path == "/tei/predict":
        if any(not any(row) for row in request["inputs"]):
            return 422, {"error": "`inputs` cannot be empty", "error_type": "Validation"}
        assert request["raw_scores"]
        assert request["truncate"]
        return 200, stock(*map(list, zip(*request["inputs"], strict=True)))
    if path == "/infinity/classify":
        return 200, {"object": "classify", "data": scored(stock(request["input"]))}
    if path == "/vllm/classify":
        assert request["use_activation"] is False
        rows = [[each["score"] for each in row] for row in stock(request["input"])]
        data = [{"index": i, "probs": row} for i, row in enumerate(rows)]
        return 200, {"data": data[::-1]}
    if path == "/pipeline/":
        assert request["parameters"] == {"top_k": None, "truncation": True}
        return 200, scored(stock(request["inputs"]))
    if path == "/softmax/predict":
        rows = stock([text for (text,) in request["inputs"]])
        return 200, [[{**each, "score": abs(each["score"])} for each in row] for row in rows]
    return 404, {}


@contextmanager
def serving(stock: StockModel) -> Iterator[str]:
    """Run a server on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            stock.tokens.add(self.headers["Authorization"])
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, found = answer(stock, self.path, request)
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read(folder: Path) -> dict[str, dict[str, Any]]:
    stored = json.loads((folder / "certificate.json").read_text())
    return {each["backend"]: each for each in stored["backends"]}


def test_own_texts_through_all_backends_and_servers(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(StockModel(model)) as url:
        names = ("tei", "infinity", "vllm", "pipeline")
        servers = [f"{name}={url}/{name}" for name in names]
        assert main(["certify", str(model), "--servers", *servers]) == 0
    found = read(model)
    tested = len({row["text"] for row in rows_of(model)})
    blank = {"pipeline of transformers", *(SERVERS[name].title for name in names)}
    run = [each for each in found.values() if not each["not_run"]]
    assert len(run) >= 11
    for each in run:
        if each["backend"] != "ONNX Runtime, int8":
            assert each["equal_texts"] == each["texts"] > 0, each
            assert set(each["causes"]) <= {"blank text"}, each
            assert not each["causes"] or each["backend"] in blank
        assert each["hard_cases"] == HARD_CASES
        assert each["texts"] <= tested
    card = (model / "README.md").read_text()
    assert card.count(CARD_MARKS[0]) == 1
    assert all(f"| {escape_markdown(name)} |" in card for name in found)
    assert "certified" in capsys.readouterr().out


def rows_of(model: Path) -> list[dict[str, Any]]:
    from zlpr_hf.workflows.load_data import load_own_data, read_data_arguments

    data = load_own_data(str(model), read_data_arguments(str(model), otherwise=""))
    return [{"text": text} for (text,) in data.texts("test")]


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "ONNX_PACKAGES", ("no_such_package",))


@pytest.mark.usefixtures("without_onnx")
def test_wrong_server_is_not_certified(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("a red bird\nthe sea sleeps\n")
    with serving(StockModel(model)) as url:
        argv = ["certify", str(model), str(tmp_path / "texts.txt"), "--output_dir", str(tmp_path)]
        assert main([*argv, "--servers", f"tei={url}/softmax"]) == 1
    found = read(tmp_path)["Text Embeddings Inference"]
    assert found["texts"] == 2
    assert found["causes"]["other"] > 0
    onnx = read(tmp_path)["ONNX Runtime, float32"]
    assert "no_such_package" in onnx["not_run"]
    assert onnx["causes"] == {}
    out = capsys.readouterr().out
    assert "not certified: Text Embeddings Inference" in out
    assert found["differences"][0]["label"] in ("red", "green", "blue")


@pytest.mark.usefixtures("without_onnx")
def test_limits_on_labels_are_told(model: Path, tmp_path: Path) -> None:
    loaded = Classifier.load(model)
    folder = tmp_path / "limited"
    write_folder(
        folder,
        loaded.model,
        loaded.tokenizer,
        Thresholds(min_labels=3),
        temperature=None,
        long_texts="cut",
    )
    (tmp_path / "texts.txt").write_text("a red bird\n")
    assert main(["certify", str(folder), str(tmp_path / "texts.txt")]) == 1
    found = read(folder)
    assert found["pipeline of transformers"]["causes"]["label limits"] > 0
    assert found["pipeline of zlpr_hf"]["causes"] == {}
    (note,) = [
        note
        for note in json.loads((folder / "certificate.json").read_text())["notes"]
        if "min_labels 3" in note
    ]
    assert note
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize("offsets", [(), (9.0, 9.0, 9.0)])
@pytest.mark.usefixtures("without_onnx")
def test_decoder_with_and_without_an_added_bias(offsets: tuple[float, ...], tmp_path: Path) -> None:
    encoder = str(save_family("llama", tmp_path / "encoder"))
    torch.manual_seed(0)
    classifier = Classifier(load_model(encoder, LABELS), load_tokenizer(encoder))
    classifier.save(tmp_path / "model", Thresholds(offsets))
    (tmp_path / "texts.txt").write_text("red\nthe sea is big\na small green dog\n")
    status = main(["certify", str(tmp_path / "model"), str(tmp_path / "texts.txt")])
    found = read(tmp_path / "model")
    stock = found["pipeline of transformers"]["causes"]
    assert status == bool(offsets)
    assert "blank text" in stock
    assert ("head bias" in stock) == bool(offsets)
    for name in ("pipeline of zlpr_hf", "zlpr_hf, bfloat16", "zlpr serve"):
        assert found[name]["causes"] == {}


def test_failed_export_is_told_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*arguments: object) -> None:
        calls.append(arguments)
        raise InputError("torch cannot export models of this type")

    monkeypatch.setattr(backends, "write_export", fail)
    (tmp_path / "texts.txt").write_text("a red bird\n")
    argv = ["certify", str(model), str(tmp_path / "texts.txt"), "--output_dir", str(tmp_path)]
    assert main(argv) == 0
    found = read(tmp_path)
    for name in ("ONNX Runtime, float32", "ONNX Runtime, int8", "zlpr serve, ONNX"):
        assert "cannot export" in found[name]["not_run"]
    assert len(calls) == 2  # float32 and int8


@pytest.mark.usefixtures("without_onnx")
def test_pairs_and_a_token(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZLPR_SERVER_TOKEN", "sesame")
    (tmp_path / "pairs.csv").write_text("text,other\na red bird,the sea\na fish,blue and big\n")
    argv = ["certify", str(model), str(tmp_path / "pairs.csv"), "--text_pair_column", "other"]
    stock = StockModel(model)
    with serving(stock) as url:
        servers = [f"tei={url}/tei", f"infinity={url}/infinity"]
        assert main([*argv, "--output_dir", str(tmp_path), "--servers", *servers]) == 0
    assert stock.tokens == {"Bearer sesame"}
    found = read(tmp_path)
    for name in ("pipeline of transformers", "zlpr serve", "Text Embeddings Inference"):
        assert (found[name]["equal_texts"], found[name]["texts"]) == (2, 2)
        assert set(found[name]["causes"]) <= {"blank text"}
    assert "pairs" in found["Infinity"]["not_run"]


def test_powerset_outputs_become_label_logits(model: Path) -> None:
    from dataclasses import replace

    sets = LabelSets(((), (0,), (0, 1), (2,)), 3)
    classifier = replace(
        Classifier.load(model), label_space=LabelSpace(("a", "b", "c")), label_sets=sets
    )
    logits = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    refused = np.zeros(20, dtype=bool)
    raw = to_answers(logits, classifier, raw=True, refused=refused)
    scores = to_answers(softmax, classifier, raw=False, refused=refused)
    np.testing.assert_array_equal(raw.predicted, sets.members()[logits.argmax(1)])
    np.testing.assert_array_equal(scores.predicted, raw.predicted)
    np.testing.assert_allclose(scores.logits, raw.logits, atol=1e-5)


def test_wrong_calls_end_in_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    (bare / "train_config.yaml").unlink()
    (bare / "certificate.json").unlink(missing_ok=True)
    closed = "http://127.0.0.1:9"
    for argv, word in [
        ([str(bare)], "TEXTS"),
        ([str(model), str(tmp_path / "no.csv")], "no such file"),
        ([str(model), "--servers", "triton=http://127.0.0.1:1"], "KIND=URL"),
        ([str(model), "--servers", "tei"], "KIND=URL"),
        ([str(model), "--servers", f"tei={closed}"], closed),
        ([str(model), "--output_dir", str(tmp_path / "none")], "no such folder"),
        (["owner/model"], "--output_dir"),
    ]:
        assert main(["certify", *argv]) == 2, argv
        (line,) = [
            line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")
        ]
        assert word in line, line
    assert not (bare / "certificate.json").exists()


def test_server_with_another_model_is_refused(model: Path) -> None:
    with serving(StockModel(model)) as url:
        for labels in (["red", "green"], ["red", "green", "yellow"]):
            for name in ("infinity", "vllm"):
                if (name, len(labels)) == ("vllm", 3):
                    continue  # it returns no names
                with pytest.raises(InputError):
                    ask_server(SERVERS[name], f"{url}/{name}", [("red",)], labels)
        with pytest.raises(InputError):
            ask_server(SERVERS["tei"], f"{url}/tei", [("",)], ["red", "green", "blue"])


def test_server_words() -> None:
    plain = ServerAddress("tei", "http://localhost:1", "Text Embeddings Inference")
    assert ServerAddress.parse("tei=http://localhost:1/") == plain
    named = ServerAddress("pipeline", "http://localhost:1", "transformers.js")
    assert ServerAddress.parse("transformers.js:pipeline=http://localhost:1") == named
    with pytest.raises(InputError):
        ServerAddress.parse("tei=localhost:1")


def test_sample_is_even_and_without_repetitions() -> None:
    texts = [(str(i // 2),) for i in range(2000)]
    sample = sample_texts(texts, 11)
    assert sample == [(str(i),) for i in [0, 100, 200, 300, 400, 500, 599, 699, 799, 899, 999]]
    assert sample_texts(texts[:4], 10) == [("0",), ("1",)]
