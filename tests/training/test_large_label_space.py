"""Training with very many labels: head and loss in chunks, ids for targets, metrics of the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import BertForSequenceClassification

from tests.builders import tiny_config
from tests.runs import check_refused, run
from zlpr_hf import BCELoss, ZLPRTrainer, ZLPRTrainingArguments
from zlpr_hf.data.encoding import MultiLabelCollator
from zlpr_hf.workflows import argument_checks

LABELS, ROWS = 50, 24


def rows() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 22, (ROWS, 6), generator=generator)
    chosen = torch.randint(LABELS, (ROWS, 3), generator=generator).tolist()
    content = {
        "input_ids": ids.tolist(),
        "label_ids": [sorted(set(row))[: 1 + index % 3] for index, row in enumerate(chosen)],
    }
    content["label_values"] = [[1.0] * len(row) for row in content["label_ids"]]
    return Dataset.from_dict(content)


def trainer(folder: Path, tokenizer: Any, *, large: bool, **changes: Any) -> ZLPRTrainer:
    torch.manual_seed(0)
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        "bf16": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "evaluated_labels": LABELS,
    }
    return ZLPRTrainer(
        model=BertForSequenceClassification(tiny_config(num_labels=LABELS, **quiet)),
        args=ZLPRTrainingArguments(large_label_space=large, **(settings | changes)),
        train_dataset=rows(),
        eval_dataset=rows(),
        data_collator=MultiLabelCollator(tokenizer, LABELS, as_ids=large),
    )


@pytest.fixture(scope="session")
def numbered(
    encoder_dir: Path, colour_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """A run in a label space that counts as large where ``MAX_DENSE_LABELS`` is 2."""
    data = tmp_path_factory.mktemp("large") / "colours.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in colour_rows))
    return [
        f"--model_name_or_path={encoder_dir}",
        f"--train_file={data}",
        "--num_train_epochs=12",
        "--folds=0",
        "--per_device_train_batch_size=8",
        "--learning_rate=5e-3",
        "--pooling=mean",
        "--max_length=16",
        "--save_strategy=no",
        "--test_size=0.25",
        "--bf16=false",
    ]


def test_it_trains_and_evaluates_as_the_dense_form(tmp_path: Path, tokenizer: Any) -> None:
    found: dict[bool, tuple[dict[str, Tensor], dict[str, float]]] = {}
    for large in (False, True):
        each = trainer(tmp_path, tokenizer, large=large)
        each.train()
        found[large] = each.model.state_dict(), each.evaluate()
    for name, value in found[False][0].items():
        torch.testing.assert_close(found[True][0][name], value, atol=2e-5, rtol=1e-4)
    dense, sparse = found[False][1], found[True][1]
    for name in ("eval_loss", "eval_f1_micro", "eval_f1_macro", "eval_precision_at_5"):
        assert sparse[name] == pytest.approx(dense[name], rel=1e-4), name


def test_no_logits_of_all_labels(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    forward = nn.Linear.forward

    def watched(self: nn.Linear, value: Tensor) -> Tensor:
        called.append(self.out_features)
        return forward(self, value)

    monkeypatch.setattr(nn.Linear, "forward", watched)
    each = trainer(tmp_path, tokenizer, large=True, evaluated_labels=7, num_train_epochs=1)
    each.train()
    predicted = each.predict(rows())
    assert called
    assert LABELS not in called
    logits, ids = predicted.predictions
    assert logits.shape == ids.shape == (ROWS, 7)
    # Afterwards the model is a stock classifier with all its logits again.
    batch = {"input_ids": torch.tensor(rows()["input_ids"][:])}
    with torch.no_grad():
        best = each.model(**batch).logits.topk(7)
    torch.testing.assert_close(torch.from_numpy(logits), best.values)


def test_wrong_use(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="large_label_space: expected the loss zlpr, got bce"):
        ZLPRTrainingArguments(output_dir=str(tmp_path), loss="bce", large_label_space=True)
    with pytest.raises(ValueError, match="expected rdrop_alpha 0 .*got 1"):
        ZLPRTrainingArguments(output_dir=str(tmp_path), rdrop_alpha=1.0, large_label_space=True)
    good = trainer(tmp_path, tokenizer, large=True)
    with pytest.raises(ValueError, match="large_label_space: .* got bce"):
        ZLPRTrainer(model=good.model, args=good.args, train_dataset=rows(), loss=BCELoss())


@pytest.mark.parametrize("tune", ["none", "global"])
def test_the_whole_flow(
    numbered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune: str
) -> None:
    dense = run([*numbered, "--large_label_space=false"], tmp_path / "dense")
    monkeypatch.setattr(argument_checks, "MAX_DENSE_LABELS", 2)  # three labels are many
    options = [f"--tune_thresholds={tune}", "--threshold_metric=f1_micro"]
    report = run([*numbered, *options], tmp_path / "large")
    assert report.training["large_label_space"]
    assert report.training["cpu_speedups"]
    assert not dense.training["large_label_space"]
    if tune == "none":
        for name in ("f1_micro", "f1_macro", "subset_accuracy"):
            assert report.metrics[name] == pytest.approx(dense.metrics[name])
    else:
        assert report.thresholds.offsets
        assert report.validation["f1_micro"] >= dense.validation["f1_micro"]
    assert "this model" in report.render()
    assert (tmp_path / "large" / "README.md").is_file()
    assert not (tmp_path / "large" / "report.html").exists()
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "large")
    assert loaded.classifier.out_features == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss=bce"], "large_label_space: expected the loss zlpr, got bce"),
        (["--save_logits=true"], "large_label_space: cannot be combined with save_logits"),
        (["--tune_thresholds=per_label"], "combined with tune_thresholds per_label"),
        (
            ["--metric_for_best_model=lrap"],
            "metric_for_best_model: unknown metric 'lrap'",
        ),
        (["--evaluated_labels=0"], "evaluated_labels: expected 1 or more, got 0"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    numbered: list[str],
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = [*numbered, "--large_label_space=true", *options]
    check_refused(argv, tmp_path / "out", message, capsys)


def test_rows_without_labels_are_predicted(tmp_path: Path, tokenizer: Any) -> None:
    tested = trainer(tmp_path, tokenizer, large=True, evaluated_labels=5)
    logits, ids = tested.predict(rows()).predictions
    unlabelled = rows().remove_columns(["label_ids", "label_values"])
    tested.data_collator = lambda features: {
        "input_ids": torch.tensor([row["input_ids"] for row in features])
    }
    found, found_ids = tested.predict(unlabelled).predictions
    assert found_ids.tolist() == ids.tolist()
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(logits))
    with torch.no_grad():
        every = tested.model(torch.tensor(unlabelled["input_ids"][:])).logits
    torch.testing.assert_close(torch.from_numpy(found), every.topk(5).values, atol=1e-5, rtol=1e-5)
