"""The backends of a certificate: libraries on this machine, and servers by their URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import pipeline as stock_pipeline

from zlpr_hf.choices import Quantization
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.inference.pipeline import load_pipeline
from zlpr_hf.inference.serving.options import SERVER_PACKAGES
from zlpr_hf.inference.window_logits import RECOMPUTE_MARGIN
from zlpr_hf.inference.windows import Texts
from zlpr_hf.losses.powerset import powerset_label_scores
from zlpr_hf.reports.certificate import Answers
from zlpr_hf.thresholds import logit_threshold
from zlpr_hf.workflows.certify.servers import SERVERS, ServerAddress, ask_server
from zlpr_hf.workflows.export import MAX_LOGIT_DIFFERENCE, write_export
from zlpr_hf.zlpr_config import ZLPRConfig

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
ZERO = "logit > 0"

Values = NDArray[np.float32]
Bools = NDArray[np.bool_]


class NotRunError(Exception):
    """A backend cannot run here; the message says why."""


@dataclass(frozen=True)
class Backend:
    """A way to run the model.

    Args:
        name: Its name in the table.
        cut: How its outputs become labels.
        run: Returns its answers to texts; raises :class:`NotRunError`.
        required: Whether it must have the label sets of the model.
        tolerance: Numerical error of its logits; None to measure it.
        stock: Whether it loads the model with a class of transformers or its own.
    """

    name: str
    cut: str
    run: Callable[[Texts], Answers]
    required: bool = True
    tolerance: float | None = MAX_LOGIT_DIFFERENCE
    stock: bool = False


@dataclass(frozen=True)
class Setup:
    """The model under test, and how it is loaded.

    Args:
        classifier: The model in torch and float32, beside which all others are compared.
        model: Its folder or Hub id.
        folder: A temporary folder for exports.
        batch_size: Texts per batch.
        loading: ``revision`` and ``trust_remote_code``.
        failed_exports: Why exports failed, so that none is tried twice.
    """

    classifier: Classifier
    model: str
    folder: Path
    batch_size: int
    loading: Mapping[str, Any]
    failed_exports: dict[str, str] = field(default_factory=dict)

    def answer(self, classifier: Classifier, texts: Texts, **options: Any) -> Answers:
        """Return the answers of a classifier of this package."""
        logits = classifier.compute_logits(texts, batch_size=self.batch_size, **options)
        return Answers(classifier.decide(logits), logits)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs of the model, in their order."""
        config: Any = self.classifier.model.config
        return [str(config.id2label[index]) for index in range(config.num_labels)]


def find_backends(setup: Setup, servers: Sequence[ServerAddress]) -> list[Backend]:
    """Return the backends of a certificate, in the order of its table."""
    half = RECOMPUTE_MARGIN / (ZLPRConfig.read(setup.classifier.model.config).temperature or 1.0)
    return [
        Backend(
            "pipeline of transformers",
            "score > 0.5",
            lambda texts: _run_stock(setup, texts),
            stock=True,
        ),
        Backend("pipeline of zlpr_hf", ZERO, lambda texts: _run_own(setup, texts)),
        Backend(
            "zlpr_hf, bfloat16",
            ZERO,
            lambda texts: setup.answer(setup.classifier, texts, precision="bfloat16"),
            tolerance=half,
        ),
        Backend("ONNX Runtime, float32", ZERO, lambda texts: _run_onnx(setup, texts, "none")),
        Backend(
            "ONNX Runtime, int8",
            ZERO,
            lambda texts: _run_onnx(setup, texts, "int8"),
            required=False,
            tolerance=None,
        ),
        Backend("OpenVINO, float32", ZERO, lambda texts: _run_openvino(setup, texts)),
        Backend("zlpr serve", ZERO, lambda texts: _run_http(setup, texts, onnx=False)),
        Backend("zlpr serve, ONNX", ZERO, lambda texts: _run_http(setup, texts, onnx=True)),
        *(_find_server(setup, each, half) for each in servers),
    ]


def _find_server(setup: Setup, address: ServerAddress, half: float) -> Backend:
    server = SERVERS[address.kind]

    def run(texts: Texts) -> Answers:
        if len(texts[0]) > 1 and not server.pairs:
            raise NotRunError("it reads no pairs of texts")
        return _ask(setup, address, texts)

    return Backend(address.title, server.cut, run, tolerance=half, stock=not server.decides)


def check_server(setup: Setup, address: ServerAddress, text: tuple[str, ...]) -> None:
    """Ask a server for the labels of one text.

    Raises:
        InputError: If it cannot be reached, or serves another model.
    """
    if len(text) == 1 or SERVERS[address.kind].pairs:
        _ask(setup, address, [text])


def _ask(setup: Setup, address: ServerAddress, texts: Texts) -> Answers:
    server = SERVERS[address.kind]
    labels = setup.classifier.label_space.names if server.decides else setup.outputs
    values, refused = ask_server(server, address.url, texts, labels)
    if not server.decides:
        return to_answers(values, setup.classifier, raw=server.raw, refused=refused)
    with np.errstate(divide="ignore"):
        logits = np.log(values) - np.log1p(-values)
    return Answers(~np.isnan(values), logits, refused)


def _run_http(setup: Setup, texts: Texts, *, onnx: bool) -> Answers:
    """Run the server of this package on a free port of the loopback."""
    missing = [name for name in SERVER_PACKAGES if find_spec(name) is None]
    if missing:
        raise NotRunError(f'{missing[0]} is not installed: pip install "zlpr_hf[serve]"')
    from zlpr_hf.workflows.certify.own_server import serve_on_loopback

    served: Any = (
        serve_on_loopback(_export(setup, "none"), backend="onnxruntime")
        if onnx
        else serve_on_loopback(setup.model, backend="torch", **setup.loading)
    )
    with served as url:
        return _ask(setup, ServerAddress("zlpr", url, "zlpr serve"), texts)


def to_answers(values: Values, classifier: Classifier, *, raw: bool, refused: Bools) -> Answers:
    """Return the answers of a server that only cuts its outputs.

    Args:
        values: Its outputs, ``(N, K)``; NaN for refused texts.
        classifier: The model.
        raw: Whether the outputs are logits, or scores from 0 to 1.
        refused: Which texts it refused, ``(N,)``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = values if raw else np.log(np.maximum(values, 1e-30))
        if classifier.label_sets is not None:  # the best label set; constants cancel out
            members = torch.from_numpy(classifier.label_sets.members())
            logits = powerset_label_scores(torch.from_numpy(logs), members).numpy()
            return Answers(logits > 0, logits, refused)
        logits = values if raw else logs - np.log1p(-values)
    return Answers(values > (0.0 if raw else 0.5), logits, refused)


def _run_stock(setup: Setup, texts: Texts) -> Answers:
    """Run the pipeline of transformers on one text after the other, as its default is.

    A text on which it raises an error, such as an empty one of a decoder, counts as refused.
    """
    if (Path(setup.model) / "adapter_config.json").is_file():
        raise NotRunError("a low-rank adapter is loaded by zlpr_hf only")
    classify = stock_pipeline(
        "text-classification",
        setup.model,
        top_k=None,
        truncation=True,
        device=setup.classifier.model.device,
        **setup.loading,
    )
    names = setup.outputs
    values = np.full((len(texts), len(names)), np.nan, np.float32)
    refused = np.zeros(len(texts), dtype=bool)
    for place, row in enumerate(texts):
        given: Any = row[0] if len(row) == 1 else {"text": row[0], "text_pair": row[1]}
        try:
            found: Any = classify([given])
        except Exception:  # of the model or of its tokenizer; they share no base class
            refused[place] = True
            continue
        scores = {each["label"]: each["score"] for each in found[0]}
        values[place] = [scores[name] for name in names]
    return to_answers(values, setup.classifier, raw=False, refused=refused)


def _run_own(setup: Setup, texts: Texts) -> Answers:
    """Run the pipeline of this package on one text after the other; absent labels have no logit."""
    classify = load_pipeline(setup.model, backend="torch", **setup.loading)
    ids = setup.classifier.label_space.label2id
    logits = np.full((len(texts), len(ids)), np.nan, np.float32)
    for place, row in enumerate(texts):
        given: Any = row[0] if len(row) == 1 else {"text": row[0], "text_pair": row[1]}
        for label in classify(given):
            logits[place, ids[label["label"]]] = logit_threshold(label["score"])
    return Answers(~np.isnan(logits), logits)


def _run_onnx(setup: Setup, texts: Texts, quantization: Quantization) -> Answers:
    exported = Classifier.load(_export(setup, quantization), backend="onnxruntime")
    return setup.answer(exported, texts)


def _export(setup: Setup, quantization: Quantization) -> Path:
    """Return the folder of a fresh export, which two backends may share."""
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise NotRunError(f'{missing[0]} is not installed: pip install "zlpr_hf[onnx]"')
    folder = setup.folder / quantization
    if not folder.is_dir() and quantization not in setup.failed_exports:
        folder.mkdir()
        try:
            write_export(setup.classifier, folder, quantization)
        except InputError as error:
            setup.failed_exports[quantization] = str(error)
    if quantization in setup.failed_exports:
        raise NotRunError(setup.failed_exports[quantization])
    return folder


def _run_openvino(setup: Setup, texts: Texts) -> Answers:
    """Run the exported model in OpenVINO, which would use bfloat16 where the processor has it."""
    if find_spec("openvino") is None:
        raise NotRunError("openvino is not installed")
    folder = _export(setup, "none")
    exported = Classifier.load(folder, backend="onnxruntime")
    assert isinstance(exported.model, OnnxModel)
    session = OpenVinoSession(str(folder / "model.onnx"))
    model = OnnxModel(session, exported.model.config, folder)
    return setup.answer(
        Classifier(model, exported.tokenizer, exported.label_space, exported.thresholds), texts
    )


class OpenVinoSession:
    """A compiled model of OpenVINO, called like a session of ONNX Runtime.

    It runs in float32, with as many threads as torch uses.

    Args:
        model: The path of an ONNX file, or a model of OpenVINO.
    """

    def __init__(self, model: Any) -> None:
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._model = openvino.Core().compile_model(model, "CPU", settings)

    def get_inputs(self) -> list[Any]:
        return [_Named(each.get_any_name()) for each in self._model.inputs]

    def run(self, _: None, arrays: Mapping[str, Any]) -> list[Any]:
        return [self._model(dict(arrays))[0]]


@dataclass(frozen=True)
class _Named:
    name: str
