"""Speed against F1: ways to run a trained model and its student, beside transformers' pipeline.

All ways read the same texts, drawn from the model's own test split, in rounds, one after the other
in one thread; seconds are those of the processor, which other work on the machine changes less.
Models are loaded and quantized before. Texts are truncated as in training. "Near texts again"
computes texts with a logit near zero again in float32, as --precision bfloat16 does.

The student is half of the model, taught by it (zlpr train --teacher_model_name_or_path MODEL
--keep_layers 3). OpenVINO and its int8 run where openvino and nncf are installed.

Run: python -m benchmarks.speed_curve MODEL --student STUDENT --data NAME
     python -m benchmarks.curve_tables     (draws the picture)
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import pipeline

from benchmarks.curve_tables import STUDENT
from benchmarks.output import save
from zlpr_hf import compute_decision_metrics
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.inference.onnx_session import ONNX_FILE, open_session
from zlpr_hf.inference.windows import Texts, batches_by_length, split_into_windows
from zlpr_hf.reports.provenance import find_versions
from zlpr_hf.training.arguments import has_bfloat16
from zlpr_hf.workflows.certify.backends import OpenVinoSession
from zlpr_hf.workflows.export import write_export
from zlpr_hf.workflows.load_data import load_own_data, read_data_arguments

Logits = NDArray[np.float32]
Predict = Callable[[Texts], Logits]
Measured = dict[str, tuple[list[float], Logits]]

ROUNDS, BATCH, TEXTS = 5, 32, 900
CALIBRATION_TEXTS = 64
"""Validation texts that set the ranges of activations in static int8."""
NEAR = 0.5
"""A text with a logit this close to zero is computed again in float32."""
STOCK, AGAIN = "transformers.pipeline", ", near texts again"
EXACT = {"ONNX, quantize_dynamic": "ONNX, float32", "OpenVINO, int8": "OpenVINO, float32"}
"""Ways in int8 that also run with near texts again, and the way that computes these."""
PRODUCTS = {"op_types_to_quantize": ["MatMul", "Gemm"], "per_channel": True}
OPTIONAL_PACKAGES = ("onnxruntime", "openvino", "nncf")
FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def stock(model: str) -> Predict:
    """Return the pipeline of transformers, in batches in the order of the texts."""
    classify = pipeline("text-classification", model, top_k=None, truncation=True, batch_size=BATCH)
    order: dict[str, int] = classify.model.config.label2id

    def predict(texts: Texts) -> Logits:
        scores = np.empty((len(texts), len(order)), np.float64)
        for row, answer in zip(scores, classify([text for (text,) in texts]), strict=True):
            for each in answer:
                row[order[each["label"]]] = each["score"]
        with np.errstate(divide="ignore"):
            logits: Logits = (np.log(scores) - np.log1p(-scores)).astype(np.float32)
        return logits

    return predict


def find_sides(
    model: str, calibration: Texts, folder: Path, *, is_student: bool
) -> Iterator[tuple[str, Predict]]:
    """Yield the ways to run a model, loaded; files go to a new folder.

    A student, whose label sets are its own anyway, runs in fewer.
    """
    classifier = Classifier.load(model, backend="torch")
    yield "zlpr_hf, float32", lambda texts: classifier.compute_logits(texts, long_texts="cut")
    if has_bfloat16(use_cpu=True):
        yield (
            "zlpr_hf, bfloat16",
            lambda texts: classifier.compute_logits(texts, long_texts="cut", precision="bfloat16"),
        )
    write_export(classifier, make(folder / "none"), "none")
    if not is_student:
        write_export(classifier, make(folder / "int8"), "int8")
    exported = Classifier.load(folder / "none", backend="onnxruntime")
    batches = list(encode(exported, calibration))
    quantize(folder, None if is_student else batches)

    def run(session: Any) -> Predict:
        assert isinstance(exported.model, OnnxModel)
        held = OnnxModel(session, exported.model.config, folder)
        given = Classifier(held, exported.tokenizer, exported.label_space, exported.thresholds)
        return lambda texts: given.compute_logits(texts, long_texts="cut")

    for title, name in (
        ("ONNX, float32", "none"),
        ("ONNX, int8", "int8"),
        ("ONNX, quantize_dynamic", "dynamic"),
        ("ONNX, quantize_static", "static"),
    ):
        if (folder / name).is_dir():
            yield title, run(open_session(folder / name, threads=torch.get_num_threads()))
    if find_spec("openvino") is None:
        print("OpenVINO: not run (pip install openvino)")
        return
    yield "OpenVINO, float32", run(OpenVinoSession(str(folder / "none" / ONNX_FILE)))
    if find_spec("nncf") is None:
        print("OpenVINO, int8: not run (pip install nncf)")
        return
    yield "OpenVINO, int8", run(OpenVinoSession(quantize_openvino(folder, batches)))


def encode(classifier: Classifier, texts: Texts) -> Iterator[dict[str, Any]]:
    """Yield the inputs of an exported model, in batches of similar length."""
    assert isinstance(classifier.model, OnnxModel)
    names = [each.name for each in classifier.model.session.get_inputs()]
    windows, _ = split_into_windows(classifier.tokenizer, texts, cut=True)
    for chosen in batches_by_length(windows, 8):
        batch = classifier.tokenizer.pad([windows[at] for at in chosen], return_tensors="np")
        yield {name: batch[name] for name in names}


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def quantize(folder: Path, batches: list[dict[str, Any]] | None) -> None:
    """Quantize the export in "none" with ONNX Runtime: products with a constant matrix in int8.

    Without batches to calibrate on there is no static form.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        rest = iter(batches or ())

        def get_next(self) -> dict[str, Any] | None:
            return next(self.rest, None)

    prepared = folder / "prepared.onnx"
    quant_pre_process(folder / "none" / ONNX_FILE, prepared, skip_symbolic_shape=True)
    only_constant = {"MatMulConstBOnly": True}
    quantize_dynamic(
        prepared, make(folder / "dynamic") / ONNX_FILE, extra_options=only_constant, **PRODUCTS
    )
    if batches is None:
        return
    quantize_static(
        prepared,
        make(folder / "static") / ONNX_FILE,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options=only_constant,
        **PRODUCTS,
    )


def quantize_openvino(folder: Path, batches: list[dict[str, Any]]) -> Any:
    """Return the export in "none" as an int8 model of OpenVINO, by nncf."""
    import logging

    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        openvino.Core().read_model(folder / "none" / ONNX_FILE),
        nncf.Dataset(batches),
        subset_size=len(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
    )


def measure(sides: dict[str, Predict], texts: Texts) -> Iterator[Measured]:
    """Yield the seconds of each round so far and all logits of each side, after every round.

    A round reads its part of the texts on every side, and near texts again.
    """
    for predict in sides.values():
        predict(texts[:BATCH])  # the first batch allocates memory
    seconds: dict[str, list[float]] = {}
    logits: dict[str, list[Logits]] = {}

    def run(side: str, predict: Predict, rows: Texts) -> Logits:
        started = time.process_time()
        found = predict(rows)
        seconds.setdefault(side, []).append(time.process_time() - started)
        return found

    for part in tqdm(np.array_split(np.arange(len(texts)), ROUNDS), desc="rounds"):
        rows = [texts[at] for at in part]
        for side, predict in sides.items():
            logits.setdefault(side, []).append(run(side, predict, rows))
            if side not in EXACT:
                continue
            again, found = side + AGAIN, logits[side][-1].copy()
            near = np.flatnonzero((np.abs(found) < NEAR).any(1))
            found[near] = run(again, sides[EXACT[side]], [rows[at] for at in near])
            seconds[again][-1] += seconds[side][-1]
            logits.setdefault(again, []).append(found)
        yield {side: (seconds[side], np.concatenate(logits[side])) for side in logits}


def summarize(measured: Measured, targets: NDArray[np.float32]) -> dict[str, Any]:
    """Return speed, F1 and agreement with the pipeline of each side."""
    base, expected = measured[STOCK]
    found = {}
    for side, (seconds, logits) in measured.items():
        metrics = compute_decision_metrics(logits > 0, targets)
        ratios = [one / other for one, other in zip(base, seconds, strict=True)]
        found[side] = {
            "texts_per_second": len(targets) / sum(seconds),
            "faster_by": statistics.median(ratios),
            "all": ratios,
            "f1_micro": metrics["f1_micro"],
            "f1_macro": metrics["f1_macro"],
            "equal_label_sets": float(((logits > 0) == (expected > 0)).all(1).mean()),
        }
        print(
            f"{side:<48}{found[side]['texts_per_second']:>7.1f} texts/s  "
            f"{found[side]['faster_by']:.2f} times as fast  F1 {metrics['f1_micro']:.4f} / "
            f"{metrics['f1_macro']:.4f}  equal label sets {found[side]['equal_label_sets']:.2%}"
        )
    return found


def read_test(model: str) -> dict[str, Any]:
    """Return the metrics of a run on its whole test split, and the layers of its encoder."""
    folder = Path(model)
    stored = json.loads((folder / "results.json").read_text(encoding="utf-8"))["test"]
    (name,) = [each for each in stored if each.startswith("this model")]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {
        "layers": config["num_hidden_layers"],
        **{metric: stored[name][metric] for metric in ("f1_micro", "f1_macro", "subset_accuracy")},
    }


def find_facts() -> dict[str, Any]:
    """Return the versions of the packages, and which fast instructions the processor has."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        flags = set()
    return {
        "versions": find_versions(*OPTIONAL_PACKAGES),
        "features": [name for name in FEATURES if name in flags],
    }


def save_round(
    data: str,
    models: dict[str, str],
    measured: Measured,
    targets: NDArray[np.float32],
    calibration_texts: int,
) -> None:
    """Write the results of the rounds so far."""
    rounds, logits = measured[STOCK]
    found = {
        "data": data,
        "texts": len(logits),
        "batch": BATCH,
        "rounds": len(rounds),
        "calibration_texts": calibration_texts,
        "near": NEAR,
        **find_facts(),
        "test": {prefix or "model": read_test(name) for prefix, name in models.items()},
        "results": summarize(measured, targets[: len(logits)]),
    }
    save("speed_curve", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a run of zlpr train on single texts")
    parser.add_argument("--student", help="folder of its student")
    parser.add_argument("--data", required=True, help="name of the data, for the table")
    parser.add_argument("--texts", type=int, default=TEXTS, help="texts of the test split")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_own_data(options.model, read_data_arguments(options.model, otherwise="train it"))
    everything = data.texts("test")
    size = min(options.texts, len(everything))
    drawn = np.random.default_rng(0).permutation(len(everything))[:size]
    targets = data.targets("test")[drawn]
    calibration = data.texts("validation")[:CALIBRATION_TEXTS]
    models = {"": options.model} | ({STUDENT: options.student} if options.student else {})
    with tempfile.TemporaryDirectory() as folder:
        sides = {STOCK: stock(options.model)}
        for prefix, name in models.items():
            where = Path(folder) / (prefix or "model")
            sides |= {
                prefix + side: predict
                for side, predict in find_sides(name, calibration, where, is_student=bool(prefix))
            }
        for measured in measure(sides, [everything[at] for at in drawn]):
            save_round(options.data, models, measured, targets, len(calibration))


if __name__ == "__main__":
    main()
