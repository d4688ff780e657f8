"""docs/migration.md: a classifier trained elsewhere, made ready by the code of the page."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from tests.builders import COLOURS
from tests.docs.pages import blocks
from zlpr_hf.cli.main import main

ENCODER = "google-bert/bert-base-uncased"


def test_old_classifier_decides_as_its_stock_pipeline(
    finished: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that lacks names and problem type is refused, and used once they are there."""
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in finished[0].iterdir():
        if path.name == "model.safetensors" or path.name.startswith("tokenizer"):
            (bare / path.name).write_bytes(path.read_bytes())
    config = json.loads((finished[0] / "config.json").read_text())
    for name in ("id2label", "label2id", "problem_type", "zlpr"):
        del config[name]
    config["num_labels"] = len(COLOURS)
    (bare / "config.json").write_text(json.dumps(config))
    texts = ["red sky", "the green and blue sea", "a dog sleeps", "blue fish red bird"]
    Path("texts.txt").write_text("\n".join(texts) + "\n")
    command = ["--input", "texts.txt", "--output", "labels.jsonl"]
    assert main(["predict", str(bare), *command]) == 2

    block = next(each for each in blocks("docs/migration.md", "python") if "problem_type" in each)
    names = json.dumps(config_names(finished[0]))
    exec(block.replace(ENCODER, str(bare)).replace('["cheap", "fast", "kind"]', names), {})
    assert main(["predict", "out/old", *command]) == 0
    found = [json.loads(line) for line in Path("labels.jsonl").read_text().splitlines()]
    stock = pipeline("text-classification", "out/old", top_k=None, truncation=True)
    expected = [{row["label"] for row in rows if row["score"] > 0.5} for rows in stock(texts)]
    assert [set(row["predicted_labels"]) for row in found] == expected
    assert len(set(map(frozenset, expected))) > 1  # not the same for all, or none


def config_names(folder: Path) -> list[str]:
    names = json.loads((folder / "config.json").read_text())["id2label"]
    return [names[str(index)] for index in range(len(names))]
