"""Options at ``auto``, and the other defaults of commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModel, BertConfig

from tests.runs import run
from zlpr_hf.models.size import count_layer_weights
from zlpr_hf.workflows.arguments import parse_arguments, render_config
from zlpr_hf.workflows.auto_defaults import FEW_ROWS, choose_epochs, choose_max_length
from zlpr_hf.workflows.command_defaults import AUTO_OPTIONS, command_defaults, without_auto
from zlpr_hf.workflows.prepare import prepare


def test_weights_outside_the_embeddings_are_counted(encoder_dir: Path) -> None:
    model = AutoModel.from_pretrained(encoder_dir)
    config: BertConfig = model.config
    vectors = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    every = sum(weight.numel() for weight in model.parameters())
    assert count_layer_weights(str(encoder_dir)) == every - vectors * config.hidden_size


@pytest.mark.parametrize(("steps", "epochs"), [(21, 8), (125, 8), (231, 5), (400, 3), (5000, 2)])
def test_epochs_come_near_to_a_thousand_steps(steps: int, epochs: int) -> None:
    assert choose_epochs(steps) == epochs


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [([5] * 99, 512, 32), ([70] * 97 + [500] * 3, 512, 80), ([300] * 9, 512, 128), ([60], 48, 48)],
)
def test_maximum_length_cuts_few_texts(
    lengths: list[int], limit: int, expected: int, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "model_max_length", limit)
    assert choose_max_length(lengths, tokenizer) == expected


def test_options_at_auto_are_those_without_a_value() -> None:
    assert parse_arguments([]).auto == set(AUTO_OPTIONS)
    given = parse_arguments(["--learning_rate=1e-4", "--max_length", "64"])
    assert given.auto == set(AUTO_OPTIONS) - {"learning_rate", "max_length"}
    words = ["--learning_rate", "1e-4", "--seed=1", "--learning_rate", "auto", "--epochs=2"]
    assert without_auto(words) == ["--seed=1", "--epochs=2"]
    assert without_auto(["--learning_rate=auto", "--learning_rate=1"]) == ["--learning_rate=1"]


@pytest.mark.parametrize(
    ("words", "best"),
    [
        ([], True),
        (["--save_strategy=no"], False),
        (["--eval_strategy=steps"], False),
        (["--eval_strategy", "epoch", "--save_steps=5"], True),
        (["--load_best_model_at_end=no"], False),
        (["--load_best_model_at_end=false"], False),
        (["--save_strategy=epoch", "--load_best_model_at_end=true"], True),
    ],
)
def test_the_best_epoch_is_kept_unless_times_are_given(words: list[str], best: bool) -> None:
    training = parse_arguments(words).training
    assert training.load_best_model_at_end == best
    assert bool(training.early_stopping_patience) == best


def test_weights_that_are_split_are_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_arguments([]).training.weight_averaging == "ema"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert command_defaults({})["weight_averaging"] == "none"


def test_a_loss_without_a_threshold_is_compared_by_its_ranking() -> None:
    assert parse_arguments(["--loss=lsep"]).training.metric_for_best_model == "lrap"
    assert parse_arguments(["--loss=bce"]).training.metric_for_best_model == "f1_micro"


@pytest.mark.parametrize(
    ("words", "few_rows", "alpha", "dropout"),
    [
        (["--folds=2"], FEW_ROWS, 1, 0),
        ([], FEW_ROWS, 1, 0),
        ([], 1, 0, None),
        (["--large_label_space=true"], FEW_ROWS, 0, 0),
    ],
)
def test_a_run_records_the_values_it_chose(
    words: list[str],
    few_rows: int,
    alpha: float,
    dropout: float | None,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zlpr_hf.workflows.auto_defaults.FEW_ROWS", few_rows)
    data = [word for word in command if word.startswith(("--train_file", "--model_name"))]
    folds = [] if words else ["--folds=0"]
    run(data, tmp_path, "--bf16=false", "--num_train_epochs=1", *words, *folds)
    saved = yaml.safe_load((tmp_path / "train_config.yaml").read_text())
    assert saved["per_device_train_batch_size"] == 16
    assert saved["learning_rate"] == 3e-4
    assert saved["max_length"] == 32
    assert saved["num_train_epochs"] == 1
    assert saved["contrastive_alpha"] == alpha
    assert saved.get("dropout") == dropout
    again = parse_arguments([str(tmp_path / "train_config.yaml")])
    assert again.auto == (frozenset() if dropout == 0 else {"dropout"})
    assert yaml.safe_load(render_config(again)) == saved


@pytest.mark.parametrize("how", [[], ["--streaming=true"]])
@pytest.mark.parametrize(("empty", "dropout"), [(3, 0), (4, None)])
def test_rows_mostly_without_a_label_keep_the_dropout_of_the_model(
    empty: int, dropout: float | None, how: list[str], encoder_dir: Path, tmp_path: Path
) -> None:
    labels = [["a"], ["b"], ["a", "b"], *[[]] * empty]
    rows = [{"text": f"text {number}", "labels": names} for number, names in enumerate(labels)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = [f"--{split}_file={file}" for split in ("train", "validation", "test")]
    data = [f"--model_name_or_path={encoder_dir}", *files]
    run(data, tmp_path / "out", "--bf16=false", "--num_train_epochs=1", "--folds=0", *how)
    saved = yaml.safe_load((tmp_path / "out" / "train_config.yaml").read_text())
    assert saved["contrastive_alpha"] == (0 if dropout is None else 1)
    assert saved.get("dropout") == dropout


@pytest.mark.parametrize(("accumulation", "batch", "alpha"), [(4, 4, 1), (8, 2, 0), (16, 1, 0)])
def test_few_texts_per_pass_have_no_contrastive_loss(
    accumulation: int, batch: int, alpha: float, command: list[str], tmp_path: Path
) -> None:
    data = [word for word in command if word.startswith(("--train_file", "--model_name"))]
    more = ["--bf16=false", "--max_steps=1", "--folds=0"]
    run(data, tmp_path, *more, f"--gradient_accumulation_steps={accumulation}")
    saved = yaml.safe_load((tmp_path / "train_config.yaml").read_text())
    assert saved["per_device_train_batch_size"] == batch
    assert saved["contrastive_alpha"] == alpha
    assert saved.get("dropout") == (0 if alpha else None)


@pytest.mark.parametrize(("steps", "epochs"), [(3, 20), (10, 11), (14, 8), (38, 8)])
def test_few_rows_are_trained_for_more_epochs(steps: int, epochs: int) -> None:
    assert choose_epochs(steps, cross_fitted=True) == epochs


def test_chosen_values_are_written_as_they_are_read(command: list[str], tmp_path: Path) -> None:
    data = [word for word in command if word.startswith(("--train_file", "--model_name"))]
    config = parse_arguments([*data, "--dropout=0", f"--output_dir={tmp_path}"])
    chosen = prepare(config, cross_fits=True).config
    assert not chosen.auto
    path = tmp_path / "train_config.yaml"
    path.write_text(render_config(chosen))
    assert render_config(parse_arguments([str(path)])) == path.read_text()
