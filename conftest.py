"""What the examples of docstrings and pages find: the models and files that they name, tiny."""

import csv
from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from tests.conftest import tiny_config, tokenizer  # noqa: F401 (a fixture)
from zlpr_hf import LabelSets, LabelSpace, load_model

ALWAYS = {"Access Control": 2.0, "Resource Management": -1.0, "Injection": -3.0}


@pytest.fixture(scope="session")
def examples(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: PreTrainedTokenizerFast,  # noqa: F811
) -> Path:
    """A folder with an encoder, a trained model and a table, under the names of the documentation.

    The model has the same logits for every text, so that examples can show its answer.
    """
    folder = tmp_path_factory.mktemp("examples")
    encoder = folder / "google-bert" / "bert-base-uncased"
    BertForSequenceClassification(tiny_config()).base_model.save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
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
            [("big dog", "big"), ("small cat", "small"), ("big small bird", "big;small")] * 10
        )
    return folder


@pytest.fixture(autouse=True)
def _where_examples_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("examples"))
