"""Texts per second in prediction: zlpr predict against transformers' pipeline, on Reuters.

The pipeline answers in batches of 32, in the order of the texts. zlpr predict reads and writes a
file, with torch (also in bfloat16, if the CPU has it) and with ONNX Runtime in float32 and int8.
All load their model within the measured time, and truncate texts as training did. A profile shows
how int8 spends its time.

Run: python -m benchmarks.inference MODEL --data_dir FOLDER   (MODEL: out/reuters)
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from tqdm.auto import tqdm
from transformers import pipeline

from benchmarks.output import save
from benchmarks.step import best_speed
from zlpr_hf.cli.export import run as export
from zlpr_hf.cli.predict import run as predict
from zlpr_hf.inference.onnx_session import ONNX_FILE
from zlpr_hf.training.arguments import has_bfloat16
from zlpr_hf.workflows.data_arguments import DataArguments
from zlpr_hf.workflows.load_data import load_data

REPEATS, BATCH, CHECKED = 3, 32, 320
LENGTH, RUNS = 96, 7
BYTE_PRODUCT = "MatMulNBits"


def stock(model: str, texts: list[str]) -> list[set[str]]:
    """Predict with a stock pipeline cut at 0.5, in batches in the order of the texts."""
    classify = pipeline("text-classification", model, top_k=None, truncation=True, batch_size=BATCH)
    answers = classify(texts)
    return [{each["label"] for each in row if each["score"] > 0.5} for row in answers]


def ours(model: str, source: Path, target: Path, backend: str, *more: str) -> list[set[str]]:
    """Predict with ``zlpr predict`` from file to file, and return the written labels."""
    options = ["--input", str(source), "--output", str(target), "--backend", backend]
    target.unlink(missing_ok=True)
    predict([model, *options, *more, "--long_texts", "cut"], ["zlpr", "predict"])
    lines = target.read_text(encoding="utf-8").splitlines()
    return [set(json.loads(line)["predicted_labels"]) for line in lines]


def explain_int8(exported: str) -> dict[str, float]:
    """Return the fraction of time in 8-bit products, and their operations per second."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(exported) / "profile")
    session = onnxruntime.InferenceSession(str(Path(exported) / ONNX_FILE), options)
    ids = np.random.default_rng(0).integers(1_000, 30_000, (BATCH, LENGTH))
    known = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    for _ in range(RUNS):
        session.run(None, {each.name: known[each.name] for each in session.get_inputs()})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event for event in events if "op_name" in event.get("args", {})]
    products = [node for node in nodes if node["args"]["op_name"] == BYTE_PRODUCT]
    spent = sum(node["dur"] for node in products)
    return {
        "products": spent / sum(node["dur"] for node in nodes),
        "operations_per_second": sum(map(operations, products)) / spent * 1e6,
        "best_operations_per_second_in_float32": best_speed(),
    }


def operations(node: dict[str, Any]) -> int:
    """Return multiplications and additions of a product, from the shapes in the profile."""
    (left,) = node["args"]["input_type_shape"][0].values()
    (result,) = node["args"]["output_type_shape"][0].values()
    return 2 * int(np.prod(result)) * int(left[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a model trained on Reuters")
    parser.add_argument("--data_dir", help="folder of reuters21578.tar.gz")
    options = parser.parse_args()
    data = load_data(DataArguments(dataset_name="reuters21578", data_dir=options.data_dir))
    texts = list(data.splits["test"]["text"])
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.jsonl", Path(folder) / "labels.jsonl"
        plain, exported = str(Path(folder) / "float32"), str(Path(folder) / "int8")
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        source.write_text("".join(lines))
        checked = Path(folder) / "checked.jsonl"
        checked.write_text("".join(lines[:CHECKED]))
        for target_folder, quantization in ((plain, "none"), (exported, "int8")):
            where = ["--output", target_folder, "--check_file", str(checked)]
            export([options.model, "--quantize", quantization, *where], ["zlpr", "export"])
        sides: dict[str, Callable[[], list[set[str]]]] = {
            "transformers.pipeline": lambda: stock(options.model, texts),
            "zlpr predict, torch": lambda: ours(options.model, source, target, "torch"),
            "zlpr predict, ONNX": lambda: ours(plain, source, target, "onnxruntime"),
            "zlpr predict, int8": lambda: ours(exported, source, target, "onnxruntime"),
        }
        if has_bfloat16(use_cpu=True):
            low = ("--precision", "bfloat16")
            sides["zlpr predict, bfloat16"] = lambda: ours(
                options.model, source, target, "torch", *low
            )
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        answers: dict[str, list[set[str]]] = {}
        for _ in tqdm(range(REPEATS), desc="predict"):
            for side, answer in sides.items():
                started = time.perf_counter()
                answers[side] = answer()
                seconds[side].append(time.perf_counter() - started)
        int8 = explain_int8(exported)
    first = next(iter(sides))
    results = {}
    for side, values in seconds.items():
        ratios = [base / value for base, value in zip(seconds[first], values, strict=True)]
        same = sum(one == other for one, other in zip(answers[side], answers[first], strict=True))
        results[side] = {
            "texts_per_second": len(texts) / statistics.median(values),
            "faster_by": statistics.median(ratios),
            "all": ratios,
            "equal_label_sets": same / len(texts),
        }
        print(
            f"{side:<24}{results[side]['texts_per_second']:>8.1f} texts/s, "
            f"{results[side]['faster_by']:.2f} times as fast ({min(ratios):.2f} to "
            f"{max(ratios):.2f}), equal label sets {results[side]['equal_label_sets']:.2%}"
        )
    print(
        f"int8: {int8['products']:.0%} of the time in 8-bit products, at "
        f"{int8['operations_per_second'] / 1e9:.0f} Gop/s; a large product in float32 reaches "
        f"{int8['best_operations_per_second_in_float32'] / 1e9:.0f}"
    )
    about = {"texts": len(texts), "batch": BATCH}
    save("inference", {**about, "results": results, "int8": int8})


if __name__ == "__main__":
    main()
