"""No labelled texts: how good the models of ``zlpr start`` are on the test split of GoEmotions.

Each model reads the labels of examples/emotions.yaml and another sample of the unlabelled training
texts. FOLDER holds the datasets as for benchmarks.defaults.

Run: python -m benchmarks.start FOLDER   # [--output out/start] [--samples 3]
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.few_baselines import METRICS, measure
from benchmarks.few_texts import load_dataset
from benchmarks.output import RESULTS, save
from zlpr_hf import Classifier
from zlpr_hf.cli.start import DEFAULT_MODEL, read_descriptions
from zlpr_hf.workflows.zero_shot import start_model

LABELS = Path(__file__).parents[1] / "examples" / "emotions.yaml"
TEXTS = 5_000
"""Unlabelled texts of a sample."""


def run_sample(folder: Path, output: Path, seed: int) -> dict[str, float]:
    """Start a model from a sample of texts and return its metrics on the test split."""
    data = load_dataset("go_emotions", folder, output)
    place = output / f"model-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    drawn = np.random.default_rng(seed).permutation(len(data["train"]["texts"]))[:TEXTS]
    texts = [(data["train"]["texts"][row],) for row in drawn]
    descriptions = read_descriptions(LABELS)
    start_model(descriptions, texts, place, model_name_or_path=DEFAULT_MODEL, seed=seed)
    model = Classifier.load(place)
    order = [model.label_space.label2id[name] for name in data["names"]]
    decided = model.compute_logits(data["test"]["texts"])[:, order] > 0
    return measure(decided, data["test"]["targets"])


def render_sentence() -> str:
    """Return the means of the stored samples in a sentence."""
    stored = json.loads((RESULTS / "start.json").read_text(encoding="utf-8"))
    samples = stored["samples"]
    micro, macro, exact = (
        f"{np.mean([sample[name] for sample in samples]):.3f}" for name in METRICS
    )
    return (
        f"On the test split of GoEmotions the model has a micro-F1 of {micro}, a macro-F1 of "
        f"{macro} and an exact\nmatch of {exact} with {stored['texts']:,} unlabelled training "
        f"texts (mean of {len(samples)} samples; `python -m benchmarks.start FOLDER`)."
    )


BLOCKS = {"start": render_sentence}


def main() -> None:
    """Measure each sample and store all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/start"))
    parser.add_argument("--samples", type=int, default=3)
    options = parser.parse_args()
    samples = []
    for seed in range(options.samples):
        samples.append(run_sample(options.folder, options.output, seed))
        print(json.dumps(samples[-1]), flush=True)
    save("start", {"texts": TEXTS, "metrics": METRICS, "samples": samples})


if __name__ == "__main__":
    main()
