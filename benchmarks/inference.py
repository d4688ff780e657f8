"""Texts per second in prediction: zlpr predict against transformers' pipeline, Reuters' test texts.

The pipeline answers in batches of 32, in the order of the texts; zlpr predict reads a file and
writes one, by torch and by ONNX Runtime in int8. All load their model within the time measured, and
cut texts where training cut them.
Run: python -m benchmarks.inference MODEL --data_dir FOLDER   (MODEL: out/reuters)
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tqdm.auto import tqdm
from transformers import pipeline

from benchmarks.output import save_result
from zlpr_hf.arguments import DataArguments
from zlpr_hf.commands.export import run as export
from zlpr_hf.commands.predict import run as predict
from zlpr_hf.loading import load_data

REPEATS, BATCH = 3, 32


def stock(model: str, texts: list[str]) -> list[set[str]]:
    """What a stock pipeline says, cut at 0.5, in batches in the order of the texts."""
    classify = pipeline("text-classification", model, top_k=None, truncation=True, batch_size=BATCH)
    answers = classify(texts)
    return [{each["label"] for each in row if each["score"] > 0.5} for row in answers]


def ours(model: str, source: Path, target: Path, backend: str, *more: str) -> list[set[str]]:
    """``zlpr predict``, file in and file out, and what it wrote."""
    options = ["--input", str(source), "--output", str(target), "--backend", backend]
    target.unlink(missing_ok=True)
    predict([model, *options, *more, "--long_texts", "cut"], ["zlpr", "predict"])
    lines = target.read_text(encoding="utf-8").splitlines()
    return [set(json.loads(line)["predicted_labels"]) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a model trained on Reuters")
    parser.add_argument("--data_dir", help="folder of reuters21578.tar.gz")
    options = parser.parse_args()
    data = load_data(DataArguments(dataset_name="reuters21578", data_dir=options.data_dir))
    texts = list(data.splits["test"]["text"])
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.jsonl", Path(folder) / "labels.jsonl"
        exported = str(Path(folder) / "onnx")
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        export([options.model, "--output", exported, "--quantize", "int8"], ["zlpr", "export"])
        fast = ("--precision", "bfloat16")
        sides: dict[str, Callable[[], list[set[str]]]] = {
            "transformers.pipeline": lambda: stock(options.model, texts),
            "zlpr predict, torch": lambda: ours(options.model, source, target, "torch"),
            "zlpr predict, bfloat16": lambda: ours(options.model, source, target, "torch", *fast),
            "zlpr predict, int8": lambda: ours(exported, source, target, "onnxruntime"),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        answers: dict[str, list[set[str]]] = {}
        for _ in tqdm(range(REPEATS), desc="predict"):
            for side, answer in sides.items():
                started = time.perf_counter()
                answers[side] = answer()
                seconds[side].append(time.perf_counter() - started)
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
    save_result("inference", {"texts": len(texts), "batch": BATCH, "results": results})


if __name__ == "__main__":
    main()
