"""Work: commands on tiny data, and what the outcome of each is made of."""

from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

COLOURS = "red green blue".split()
WORDS = [*COLOURS, *"sky grass sea and the is a dog cat bird fish runs".split()]
SETTINGS = {
    "num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 5e-3,
    "pooling": "mean", "max_length": 16, "save_strategy": "steps", "save_steps": 5,
    "save_total_limit": 2, "test_size": 0.25, "bf16": False, "save_logits": True,
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """A command.

    Args:
        argv: Its arguments, with ``PLACE`` for the folder that it writes in.
        go_on: Those that are added after a kill.
        marks: Files that say that something is finished, if they are there.
    """

    argv: tuple[str, ...]
    go_on: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def arguments(self, place: Path, *, again: bool = False) -> list[str]:
        """The arguments for a folder, at first or after a kill."""
        words = (*self.argv, *(self.go_on if again else ()))
        return [word.replace("PLACE", str(place)) for word in words]

    def outcome(self, place: Path) -> dict[str, Any]:
        """All files of a folder, with the content of those that must be the same."""
        return {
            str(path.relative_to(place)): _content(path)
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }

    def finds_finished(self, place: Path) -> bool:
        """Whether a file there says that the work is done."""
        return any((place / mark).exists() for mark in self.marks)


def make_work(folder: Path) -> dict[str, Work]:
    """Write models and data.

    Args:
        folder: Where to.

    Returns:
        Name to work; ``predict`` and ``export`` need ``folder/trained/out``, which ``train`` makes.
    """
    maker = multiprocessing.get_context("forkserver").Process(target=_make_encoder, args=(folder,))
    maker.start()
    maker.join()
    draw = random.Random(0)
    rows = []
    for _ in range(80):
        labels = [colour for colour in COLOURS if draw.random() < 0.5]
        rows.append({"text": " ".join(labels + draw.choices(WORDS[3:], k=4)), "labels": labels})
    data = folder / "colours.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = folder / "texts.csv"
    texts.write_text("id,text\n" + "".join(f"{i},{rows[i % 80]['text']}\n" for i in range(700)))
    settings = SETTINGS | {"model_name_or_path": str(folder / "encoder")}
    plan = {
        "seeds": [1], "losses": ["zlpr", "bce"], "resamples": 100,
        "datasets": {"Colours": {"train_file": str(data), "test_size": 0.25}},
        "settings": {k: v for k, v in settings.items() if k not in ("save_logits", "test_size")},
    }  # fmt: skip
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    options = [f"--{name}={value}" for name, value in settings.items()]
    model = str(folder / "trained" / "out")
    return {
        "train": Work(
            ("train", *options, f"--train_file={data}", "--output_dir=PLACE/out"),
            ("--resume_from_checkpoint=true",),
            ("out/results.json",),
        ),
        "compare": Work(
            ("compare", str(folder / "plan.yaml"), "--output_dir=PLACE/out", "--no_plots"),
            marks=("out/comparison.md",),
        ),
        "predict": Work(
            ("predict", model, "--input", str(texts), "--output", "PLACE/labels.csv"),
            marks=("labels.csv",),
        ),
        "export": Work(
            ("export", model, "--output=PLACE/onnx"), ("--overwrite",), ("onnx/export.json",)
        ),
    }


def _make_encoder(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    inner = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=64,
    ).save_pretrained(folder / "encoder")  # fmt: skip
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(names), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=48, max_position_embeddings=64, pad_token_id=0,
        )
    ).save_pretrained(folder / "encoder")  # fmt: skip


def _content(path: Path) -> Any:
    """Bytes of weights and output, numbers of results; nothing of what tells the time or place."""
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
