"""The environment of all tests; the models and files that docstring examples name, tiny."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import csv
from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification

from tests.builders import make_tokenizer, save_encoder, tiny_config
from zlpr_hf import LabelSets, LabelSpace, load_model

ALWAYS = {"Credential Access": 2.0, "Discovery": -1.0, "Impact": -3.0}
"""Logits of the trained model, the same for every text, so that examples can show its answer."""


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, trained models and a table, under the documentation's names."""
    folder = tmp_path_factory.mktemp("examples")
    tokenizer = make_tokenizer()
    encoder = folder / "google-bert" / "bert-base-uncased"
    save_encoder(encoder)
    names = dict(enumerate(ALWAYS))
    model = BertForSequenceClassification(
        tiny_config(id2label=names, label2id={name: index for index, name in names.items()})
    )
    model.config.problem_type = "multi_label_classification"
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor(list(ALWAYS.values())))
    model.save_pretrained(folder / "out" / "quickstart")
    tokenizer.save_pretrained(folder / "out" / "quickstart")
    sets = LabelSets(((), (0,), (0, 1)), 2)
    space = LabelSpace(("cocoa", "coffee"))
    model = load_model(str(encoder), space, loss="powerset", label_sets=sets)
    model.save_pretrained(folder / "out" / "powerset")
    tokenizer.save_pretrained(folder / "out" / "powerset")
    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "labels"])
        rows.writerows(
            (f"{text} {number}", labels)
            for number in range(10)
            for text, labels in (("big dog", "big"), ("cat", "small"), ("bird", "big;small"))
        )
    return folder


@pytest.fixture(autouse=True)
def _run_doctests_among_the_examples(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("examples"))
