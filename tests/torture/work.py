"""Commands on tiny data, and the files that make up the outcome of each."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.builders import COLOURS, OTHERS, save_encoder
from tests.torture.child import CONTEXT, Ended, run_child

SETTINGS = {
    "num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 5e-3,
    "pooling": "mean", "max_length": 16, "save_strategy": "steps", "save_steps": 2,
    "save_total_limit": 2, "bf16": False,
}  # fmt: skip
SINGLE_RUN = {"save_logits": True, "baselines": False, "test_size": 0.25}
"""Settings that a comparison makes itself."""
ROWS = 32


@dataclass(frozen=True)
class Work:
    """A command.

    Args:
        argv: Its arguments, with ``PLACE`` for its output folder.
        mark: The file that is written last, when the work is done.
        more: Arguments that resume it.
    """

    argv: tuple[str, ...]
    mark: str
    more: tuple[str, ...] = ()

    def arguments(self, place: Path, *, again: bool = False) -> list[str]:
        """Return the arguments for a folder, for the first or a resumed run."""
        words = (*self.argv, *(self.more if again else ()))
        return [word.replace("PLACE", str(place)) for word in words]

    def outcome(self, place: Path) -> dict[str, Any]:
        """Return all files of a folder, with the content of those that must be reproducible."""
        return {str(path.relative_to(place)): _content(path) for path in sorted(place.rglob("*"))}

    def finds_finished(self, place: Path) -> bool:
        """Whether the file that is written last exists."""
        return (place / self.mark).exists()


def make_work(folder: Path) -> dict[str, Work]:
    """Write models and data, and return the commands by name.

    ``predict`` and ``export`` need ``folder/train/out``, the output of ``train``.
    """
    encoder, shape = folder / "encoder", {"num_hidden_layers": 1}
    maker = CONTEXT.Process(target=save_encoder, args=(encoder,), kwargs=shape)
    maker.start()
    maker.join()
    draw = random.Random(0)
    rows = []
    for _ in range(ROWS):
        labels = [colour for colour in COLOURS if draw.random() < 0.5]
        rows.append({"text": " ".join(labels + draw.choices(OTHERS, k=4)), "labels": labels})
    data = folder / "colours.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = folder / "texts.csv"
    texts.write_text("id,text\n" + "".join(f"{i},{rows[i % ROWS]['text']}\n" for i in range(700)))
    settings = SETTINGS | {"model_name_or_path": str(encoder)}
    plan = {
        "seeds": [1], "losses": ["zlpr", "bce"], "resamples": 100,
        "datasets": {"Colours": {"train_file": str(data), "test_size": 0.25}},
        "settings": settings,
    }  # fmt: skip
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    options = [f"--{name}={value}" for name, value in (settings | SINGLE_RUN).items()]
    model = str(folder / "train" / "out")
    return {
        "train": Work(
            ("train", *options, f"--train_file={data}", "--output_dir=PLACE/out"),
            "out/results.json",
            ("--resume_from_checkpoint=true",),
        ),
        "predict": Work(
            ("predict", model, "--input", str(texts), "--output", "PLACE/labels.csv"), "labels.csv"
        ),
        "compare": Work(
            ("compare", str(folder / "plan.yaml"), "--output_dir=PLACE/out", "--no_plots"),
            "out/comparison.md",
        ),
        "export": Work(
            ("export", model, "--output=PLACE/onnx"), "onnx/export.json", ("--overwrite",)
        ),
    }


def run_undisturbed(
    folder: Path, amounts: Mapping[str, int], scale: float
) -> Iterator[tuple[str, Work, int, Ended, dict[str, Any]]]:
    """Run each command undisturbed, as the reference.

    Args:
        folder: An empty folder.
        amounts: Number of faults per command.
        scale: Fraction of that; commands with less than one fault are skipped.

    Yields:
        Name, command, number of faults, end and outcome of the undisturbed run.
    """
    for name, work in make_work(folder).items():
        wanted = round(amounts[name] * scale)
        if not wanted:
            continue
        whole = folder / name
        whole.mkdir()
        alone = run_child(work.arguments(whole), whole)
        if alone.status != 0:
            raise RuntimeError(f"{name} fails undisturbed: {alone.errors[-2000:]}")
        yield name, work, wanted, alone, work.outcome(whole)


def _content(path: Path) -> Any:
    """Return weights, outputs and metrics; None for files that depend on time or place."""
    if path.is_dir():
        return None
    if path.parent.name.startswith("checkpoint-") and path.name != "model.safetensors":
        return None
    if path.name == "results.json":
        stored = json.loads(path.read_text())
        return {name: stored[name] for name in ("test", "validation", "label_scores")}
    if path.name == "comparison.json":
        return json.loads(path.read_text())["rows"]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files}
    if path.suffix in (".safetensors", ".csv", ".onnx") or path.name == "config.json":
        return path.read_bytes()
    return None
