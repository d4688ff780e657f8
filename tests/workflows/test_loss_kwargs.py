"""Hyper-parameters of a loss: Python, options, YAML, plans and searches train the same model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import set_seed

from tests.runs import check_refused, run
from zlpr_hf import BCELoss, FocalLoss, ZLPRTrainer
from zlpr_hf.cli.main import main
from zlpr_hf.data.encoding import MultiLabelCollator
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.training.callbacks import record_loss
from zlpr_hf.workflows.arguments import parse_arguments
from zlpr_hf.workflows.build_model import build_model
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.results import Comparison
from zlpr_hf.workflows.prepare import prepare
from zlpr_hf.workflows.tuning.plan import plan_tuning
from zlpr_hf.workflows.tuning.run import tune

Weights = dict[str, torch.Tensor]
SETTINGS = {
    "num_train_epochs": 1, "per_device_train_batch_size": 8, "learning_rate": 5e-3,
    "pooling": "mean", "max_length": 16, "test_size": 0.25, "save_strategy": "no", "bf16": False,
    "disable_tqdm": True, "folds": 0, "contrastive_alpha": 0, "dropout": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(encoder_dir: Path, rows_file: Path) -> dict[str, Any]:
    return SETTINGS | {"model_name_or_path": str(encoder_dir), "train_file": str(rows_file)}


def options(settings: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in settings.items()]


def write_yaml(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def from_options(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``zlpr train --loss focal --loss_kwargs ...``. Tests must not change it."""
    folder = tmp_path_factory.mktemp("options") / "out"
    argv = ["train", *options(settings), "--loss=focal", '--loss_kwargs={"gamma": 1.0}']
    assert main([*argv, f"--output_dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def from_plan(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Comparison]:
    """A comparison of three values of gamma. Tests must not change it."""
    folder = tmp_path_factory.mktemp("plan")
    shared = {name: value for name, value in settings.items() if name != "train_file"}
    plan = {
        "seeds": [42],
        "datasets": {"colours": {"train_file": settings["train_file"]}},
        "losses": ["focal", {"loss": "focal", "gamma": 1.0}, {"loss": "focal", "gamma": 0.5}],
        "settings": shared,
        "keep_models": True,
        "resamples": 100,
    }
    path = write_yaml(folder / "plan.yaml", plan)
    assert main(["compare", str(path), f"--output_dir={folder / 'out'}"]) == 0
    return folder / "out", Comparison.load(folder / "out" / "comparison.json")


def weights(folder: Path) -> Weights:
    return load_file(folder / "model.safetensors")


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_python_and_options_train_the_same_weights(
    settings: dict[str, Any], from_options: Path, tmp_path: Path
) -> None:
    config = parse_arguments([*options(settings), f"--output_dir={tmp_path / 'out'}"])
    prepared = prepare(config)
    config = prepared.config
    set_seed(config.training.seed)
    trainer = ZLPRTrainer(
        model=build_model(prepared, config.model),
        args=config.training,
        train_dataset=prepared.encoded["train"],
        eval_dataset=prepared.encoded["validation"],
        data_collator=MultiLabelCollator(prepared.tokenizer, 3),
        processing_class=prepared.tokenizer,
        loss=FocalLoss(gamma=1.0, reduction="none"),
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "out"))
    # A run ends with a temperature in its head, a trainer does not.
    found, expected = (
        {name: each for name, each in weights(folder).items() if not name.startswith("classifier")}
        for folder in (tmp_path / "out", from_options)
    )
    assert equal(found, expected)
    for folder in (tmp_path / "out", from_options):
        stored = json.loads((folder / "config.json").read_text())["zlpr"]
        assert (stored["loss"], stored["loss_kwargs"]) == ("focal", {"gamma": 1.0})


def test_yaml_and_options_train_the_same_weights(
    settings: dict[str, Any], from_options: Path, tmp_path: Path
) -> None:
    content = settings | {"loss": "focal", "loss_kwargs": {"gamma": 1.0}}
    run([str(write_yaml(tmp_path / "config.yaml", content))], tmp_path / "out")
    assert equal(weights(tmp_path / "out"), weights(from_options))


def test_plan_and_options_train_the_same_weights(
    from_options: Path, from_plan: tuple[Path, Comparison]
) -> None:
    folder, comparison = from_plan
    assert [row.loss for row in comparison.rows if row.rule == "own"] == [
        "focal", "focal(gamma=1.0)", "focal(gamma=0.5)",
    ]  # fmt: skip
    trained = {
        name: weights(folder / "colours" / name / "seed42")
        for name in ("focal", "focal_gamma_1.0", "focal_gamma_0.5")
    }
    assert equal(trained["focal_gamma_1.0"], weights(from_options))
    assert not equal(trained["focal"], trained["focal_gamma_1.0"])
    assert not equal(trained["focal_gamma_0.5"], trained["focal_gamma_1.0"])
    assert "focal(gamma=0.5)" in (folder / "comparison.md").read_text()


def test_results_name_the_hyper_parameters(from_options: Path) -> None:
    results = json.loads((from_options / "results.json").read_text())
    assert results["training"]["loss_kwargs"] == {"gamma": 1.0}
    config = yaml.safe_load((from_options / "train_config.yaml").read_text())
    assert config["loss_kwargs"] == {"gamma": 1.0}
    assert "| loss | focal(gamma=1.0) |" in (from_options / "README.md").read_text()
    assert "focal(gamma=1.0)" in (from_options / "report.html").read_text()


def test_run_is_reproduced_bit_for_bit(from_options: Path, tmp_path: Path) -> None:
    assert main(["reproduce", str(from_options), f"--output_dir={tmp_path / 'again'}"]) == 0
    assert equal(weights(tmp_path / "again"), weights(from_options))


def test_search_varies_a_hyper_parameter(settings: dict[str, Any], tmp_path: Path) -> None:
    content = settings | {
        "loss": "asymmetric",
        "loss_kwargs": {"margin": 0.1},
        "search_space": {"loss_kwargs.gamma_positive": {"low": 0, "high": 1}},
    }
    config = write_yaml(tmp_path / "config.yaml", content)
    plan = plan_tuning(config, [], metric="lrap", prune=False, output_dir=tmp_path / "search")
    trials = tune(plan, 3, log=lambda text: None)
    tried = [trial.params["loss_kwargs.gamma_positive"] for trial in trials]
    assert tried[0] == 0
    assert len(set(tried)) == 3
    best = max(trials, key=lambda trial: trial.value)
    best_file = tmp_path / "search" / "best.yaml"
    kwargs = yaml.safe_load(best_file.read_text())["loss_kwargs"]
    assert kwargs == {"margin": 0.1, "gamma_positive": best.params["loss_kwargs.gamma_positive"]}
    report = run([str(best_file)], tmp_path / "best")
    assert report.validation["lrap"] == best.value


def test_trials_train_with_their_own_value(settings: dict[str, Any], tmp_path: Path) -> None:
    content = settings | {"loss": "focal", "search_space": {"loss_kwargs.gamma": [2.0, 8.0]}}
    config = write_yaml(tmp_path / "config.yaml", content)
    plan = plan_tuning(config, [], metric="loss", prune=False, output_dir=tmp_path / "search")
    trials = tune(plan, 4, log=lambda text: None)
    losses = {trial.params["loss_kwargs.gamma"]: trial.value for trial in trials}
    assert losses.keys() == {2.0, 8.0}
    for gamma, value in losses.items():
        kwargs = f'--loss_kwargs={{"gamma": {gamma}}}'
        epochs = ["--eval_strategy=epoch", "--save_strategy=epoch"]
        folder = tmp_path / str(gamma)
        run([*options(settings), "--loss=focal", kwargs, *epochs], folder)
        state = next(folder.glob("checkpoint-*/trainer_state.json"))
        (logged,) = [
            line["eval_loss"]
            for line in json.loads(state.read_text())["log_history"]
            if "eval_loss" in line
        ]
        assert logged == value


@pytest.mark.parametrize(
    ("loss", "loss_kwargs", "message"),
    [
        ("focal", '{"gama": 1}', "loss focal: unknown hyper-parameter 'gama'; expected gamma"),
        ("focal", '{"gamma": -1}', "loss focal: gamma must be 0 or above, got -1"),
        ("focal", '{"gamma": "high"}', "loss focal: gamma must be a number, got 'high'"),
        ("focal", '{"gamma": true}', "loss focal: gamma must be a number, got True"),
        ("focal", '{"gamma": NaN}', "loss focal: gamma must be 0 or above, got nan"),
        ("asymmetric", '{"margin": 1}', "loss asymmetric: margin must be in [0, 1), got 1"),
        ("bce", '{"positive_weight": 0}', "loss bce: positive_weight must be above 0, got 0"),
        ("lsep", '{"gamma": 1}', "loss lsep: unknown hyper-parameter 'gamma'; it has none"),
        ("zlpr", '{"temperature": 0}', "loss zlpr: temperature must be above 0, got 0"),
        ("focal", '{"reduction": "sum"}', "loss focal: unknown hyper-parameter 'reduction'"),
        ("focal", "gamma=1", "loss_kwargs: expected names and values"),
        ("focal", "[1]", "loss_kwargs: expected names and values"),
    ],
)
def test_invalid_hyper_parameter_is_one_line(
    loss: str,
    loss_kwargs: str,
    message: str,
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = [*options(settings), f"--loss={loss}", f"--loss_kwargs={loss_kwargs}"]
    check_refused(argv, tmp_path / "out", message, capsys)
    with pytest.raises(ValueError, match="^loss") as refused:
        ZLPRTrainingArguments(output_dir=str(tmp_path), loss=loss, loss_kwargs=loss_kwargs)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([{"loss": "focal", "gama": 1}], "losses: loss focal: unknown hyper-parameter 'gama'"),
        ([{"loss": "focal", "gamma": -1}], "losses: loss focal: gamma must be 0 or above"),
        ([{"gamma": 1}], "losses: loss must be one of"),
        (["focal", "focal"], "losses: duplicate loss 'focal'"),
        ({"soft": {"loss": "focal", "loss_kwargs": {"gama": 1}}}, "unknown hyper-parameter"),
    ],
)
def test_invalid_loss_of_a_plan_is_one_line(
    losses: Any, message: str, settings: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    plan = {"datasets": {"colours": {"train_file": settings["train_file"]}}, "losses": losses}
    path = write_yaml(tmp_path / "plan.yaml", plan)
    assert main(["compare", str(path), f"--output_dir={tmp_path / 'out'}"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert message in errors[0]


def test_plan_gives_each_loss_its_own_hyper_parameters(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    recipe = write_yaml(tmp_path / "recipe.yaml", {"loss": "focal", "loss_kwargs": {"gamma": 3}})
    plan = {
        "datasets": {"colours": {"recipe": recipe.name, "train_file": settings["train_file"]}},
        "losses": {"zlpr": None, "sharp": {"loss": "focal", "loss_kwargs": {"gamma": 5}}},
    }
    cells = read_plan(write_yaml(tmp_path / "plan.yaml", plan)).cells
    found = {cell.loss: (cell.config.training.loss, cell.config.training.loss_kwargs)
             for cell in cells}  # fmt: skip
    assert found == {"zlpr": ("zlpr", {}), "sharp": ("focal", {"gamma": 5.0})}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("loss_kwargs.gama", [1, 2], 'Did you mean "loss_kwargs.g'),
        ("loss_kwargs.margin", [0.1, 0.2], "'loss_kwargs.margin'"),
        ("loss_kwargs.gamma", {"low": -1, "high": 2}, "gamma must be 0 or above, got -1"),
    ],
)
def test_invalid_search_of_a_hyper_parameter_is_one_line(
    name: str, values: Any, message: str, settings: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    content = settings | {"loss": "focal", "search_space": {name: values}}
    config = write_yaml(tmp_path / "config.yaml", content)
    assert main(["tune", str(config), "--trials=2", f"--output_dir={tmp_path / 'out'}"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert message in errors[0]


def test_loss_of_the_user_is_named_by_its_class(settings: dict[str, Any], tmp_path: Path) -> None:
    class Halved(torch.nn.Module):
        def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return BCELoss()(logits, targets) / 2

    words = [*options(settings), f"--output_dir={tmp_path / 'out'}", "--eval_strategy=no"]
    config = parse_arguments(words)
    model = build_model(prepare(config), config.model)
    trainer = ZLPRTrainer(model=model, args=config.training, loss=Halved())
    assert trainer.loss.decides_at_zero
    record_loss(model.config, trainer.loss)
    assert model.config.zlpr["loss"] == "Halved"
    assert "loss_kwargs" not in model.config.zlpr
