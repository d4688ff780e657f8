"""zlpr compare with search: trials of each loss, their choice on validation, resuming, sharing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from sklearn.metrics import f1_score

from tests.runs import check_plan_refused, write_plan
from zlpr_hf import InputError
from zlpr_hf.cli.main import main
from zlpr_hf.workflows.arguments import RunConfig, render_config
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.results import MACHINE, Comparison
from zlpr_hf.workflows.comparison.run import LOCK_FILE, run_comparison
from zlpr_hf.workflows.comparison.search import RANGES, Search

LOSSES = {"zlpr": None, "bce at 1": {"loss": "bce", "search": False}}
FOLDERS = {"zlpr": "zlpr", "bce at 1": "bce_at_1"}


@pytest.fixture(scope="module")
def content(encoder_dir: Path, rows_file: Path) -> dict[str, Any]:
    return {
        "seeds": [1, 2],
        "datasets": {"Colours": {"train_file": str(rows_file), "test_size": 0.25}},
        "losses": LOSSES,
        "search": {"trials": 3, "learning_rate": [1e-4, 1e-2]},
        "resamples": 100,
        "metrics": ["f1_micro", "f1_macro"],
        "settings": {
            "model_name_or_path": str(encoder_dir), "pooling": "mean", "num_train_epochs": 1,
            "per_device_train_batch_size": 16, "max_length": 16, "eval_strategy": "no",
            "save_strategy": "no", "weight_averaging": "none", "bf16": False,
            "disable_tqdm": True,
        },
    }  # fmt: skip


def load(folder: Path) -> Comparison:
    return Comparison.load(folder / "out" / "comparison.json")


class FakeTraining:
    """Stands in for a training run; the order of the rates is the order of the errors.

    The higher the rate, the fewer validation rows are right, and the more test rows.
    """

    def __init__(self, before: Callable[[RunConfig], None] = lambda config: None) -> None:
        self.runs: list[str] = []
        self.before = before

    def __call__(self, config: RunConfig, *, data: Any, log: Any) -> None:
        self.before(config)
        folder = Path(str(config.training.output_dir))
        self.runs.append(f"{folder.parent.name}/{folder.name}")
        (folder / "train_config.yaml").write_text(render_config(config))
        rate = config.training.learning_rate
        wrong = {"validation": rate / 1e-2, "test": 1 - rate / 1e-2}
        arrays = {}
        for split, share in wrong.items():
            targets = data.targets(split)
            logits = 2 * targets - 1
            logits[: round(share * len(logits))] *= -1
            arrays |= {f"{split}_logits": logits, f"{split}_targets": targets}
        np.savez(folder / "logits.npz", **arrays)
        provenance = dict.fromkeys(MACHINE, "x")
        results = {"training": {"outputs": 3}, "provenance": provenance, "versions": {}}
        (folder / "results.json").write_text(json.dumps(results))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeTraining]:
    def start(before: Callable[[RunConfig], None] = lambda config: None) -> FakeTraining:
        training = FakeTraining(before)
        monkeypatch.setattr("zlpr_hf.workflows.comparison.run.finetune_config", training)
        return training

    monkeypatch.setattr("gc.collect", lambda: 0)  # after each run; it takes most of the time here
    return start


def test_best_trial_on_validation_trains_all_seeds(content: dict[str, Any], tmp_path: Path) -> None:
    content = content | {"losses": ["zlpr"], "seeds": [3, 1]}
    content["search"] = {"trials": 2, "learning_rate": [1e-4, 1e-2]}
    plan = write_plan(tmp_path, content)
    assert main(["compare", plan, "--no_plots"]) == 0
    comparison, folder = load(tmp_path), tmp_path / "out" / "colours" / "zlpr"
    assert comparison.search is not None
    scores = []
    for trial in (1, 2):
        with np.load(folder / f"trial{trial}_seed3" / "logits.npz") as stored:
            found, truth = stored["validation_logits"] > 0, stored["validation_targets"] > 0
        averages = [f1_score(truth, found, average=name) for name in ("micro", "macro")]
        scores.append(np.mean(averages))
    results = comparison.search.results["Colours"]["zlpr"]
    assert [each.validation for each in results] == pytest.approx(scores, abs=1e-9)
    best = comparison.search.best("Colours", "zlpr")
    assert best is not None
    assert best.trial == 1 + int(np.argmax(scores))
    other = folder / f"trial{best.trial}_seed1"
    assert {path.name for path in folder.iterdir()} == {"trial1_seed3", "trial2_seed3", other.name}
    config = yaml.safe_load((other / "train_config.yaml").read_text())
    assert config["learning_rate"] == best.learning_rate
    assert config.get("loss_kwargs", {}) == best.loss_kwargs
    table = (tmp_path / "out" / "comparison.md").read_text()
    assert f"| zlpr | {best} | {best.validation:.3f} | {best.trial} | 2 |" in table
    row = next(row for row in comparison.rows if row.rule == "own")
    runs = [folder / f"trial{best.trial}_seed{seed}" / "results.json" for seed in (3, 1)]
    values = [json.loads(path.read_text())["test"]["this model (logit > 0)"] for path in runs]
    own = [each["f1_micro"] for each in values]
    assert [each["f1_micro"] for each in row.each] == pytest.approx(own, abs=1e-12)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")}
    assert main(["compare", plan, "--no_plots"]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")} == before


def test_every_loss_has_as_many_trials_and_test_rows_choose_nothing(
    content: dict[str, Any], tmp_path: Path, fake: Callable[..., FakeTraining]
) -> None:
    training = fake()
    plan = read_plan(Path(write_plan(tmp_path, content)))
    comparison = run_comparison(plan, log=lambda text: None)
    assert comparison is not None
    comparison.save(plan.output_dir)
    assert comparison == load(tmp_path)
    assert comparison.search is not None
    trials = [run for run in training.runs if run.endswith("seed1")]
    assert sorted(trials) == sorted(
        f"{loss}/trial{trial}_seed1" for loss in FOLDERS.values() for trial in (1, 2, 3)
    )
    assert len(training.runs) == len(set(training.runs)) == 2 * 3 + 2
    assert comparison.search.ranges == {"zlpr": RANGES["zlpr"], "bce at 1": {}}
    for loss, results in comparison.search.results["Colours"].items():
        first, *others = results
        assert first.loss_kwargs == {}
        assert first.learning_rate == pytest.approx(1e-3)
        assert {*others[0].loss_kwargs} == {*comparison.search.ranges[loss]}
        best = comparison.search.best("Colours", loss)
        assert best is not None
        assert best.learning_rate == min(each.learning_rate for each in results)
        assert f"{FOLDERS[loss]}/trial{best.trial}_seed2" in training.runs


def test_killed_comparison_resumes_without_repeating_trials(
    content: dict[str, Any], tmp_path: Path, fake: Callable[..., FakeTraining]
) -> None:
    path = Path(write_plan(tmp_path, content))
    whole = fake()
    expected = run_comparison(read_plan(path, output_dir=str(tmp_path / "whole")))
    for kills in (2, 5):  # among the trials and among the other seeds

        def kill(_: RunConfig) -> None:
            if len(training.runs) == kills:  # noqa: B023
                raise KeyboardInterrupt

        training = fake(kill)
        with pytest.raises(KeyboardInterrupt):
            run_comparison(read_plan(path))
    training = fake()
    resumed = run_comparison(read_plan(path))
    assert len(training.runs) == len(whole.runs) - 7
    assert expected is not None
    assert resumed is not None
    assert (resumed.rows, resumed.search) == (expected.rows, expected.search)


def test_trial_of_another_process_is_left_until_the_end(
    content: dict[str, Any], tmp_path: Path, fake: Callable[..., FakeTraining]
) -> None:
    plan = read_plan(Path(write_plan(tmp_path, content)))
    plan.trials[0].folder.mkdir(parents=True)
    other = FileLock(plan.trials[0].folder / LOCK_FILE)
    other.acquire()

    def release(_: RunConfig) -> None:
        if len(training.runs) == 4:
            other.release()

    training = fake(release)
    run_comparison(plan)
    assert training.runs[5] == "zlpr/trial1_seed1"
    assert len(training.runs) == 8


def test_failed_trials_are_not_chosen(
    content: dict[str, Any], tmp_path: Path, fake: Callable[..., FakeTraining]
) -> None:
    def diverge(config: RunConfig) -> None:
        lowest = config.training.learning_rate == lowest_rate
        if config.training.loss == "bce" or lowest:
            raise InputError("step 3: the loss is NaN")

    content = content | {"losses": ["zlpr", "bce"]}
    path = write_plan(tmp_path, content)
    lowest_rate = min(cell.config.training.learning_rate for cell in read_plan(Path(path)).cells)
    fake(diverge)
    assert main(["compare", path, "--no_plots"]) == 1
    comparison = load(tmp_path)
    assert comparison.search is not None
    best = comparison.search.best("Colours", "zlpr")
    assert best is not None
    assert best.learning_rate > lowest_rate
    assert comparison.search.best("Colours", "bce") is None
    assert len(comparison.failed) == 3  # the trials of bce; that of zlpr is no failure
    assert {row.loss for row in comparison.rows} == {"zlpr"}
    table = (tmp_path / "out" / "comparison.md").read_text()
    assert "| 2 of 3 |" in table
    assert "| 0 of 3 |" in table


def test_dry_run_counts_trials_and_runs_of_the_best(
    content: dict[str, Any],
    tmp_path: Path,
    fake: Callable[..., FakeTraining],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_plan(tmp_path, content)
    assert main(["compare", path, "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("to run    Colours") == 8
    assert printed.count("seed 2 · best trial") == 2
    assert "0 of 8 runs are finished" in printed
    assert not (tmp_path / "out").exists()
    fake()
    run_comparison(read_plan(Path(path)), log=lambda text: None)
    assert main(["compare", path, "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished  Colours") == 8
    assert "8 of 8 runs are finished" in printed


@pytest.mark.parametrize(
    "given",
    [
        True,
        [4],
        {"trials": 4},
        {"learning_rate": [1e-4, 1e-3], "trials": 0},
        {"learning_rate": [1e-4, 1e-3], "trials": True},
        {"learning_rate": [1e-3, 1e-4]},
        {"learning_rate": [0, 1e-4]},
        {"learning_rate": [1e-4, 1e-3, 1e-2]},
        {"learning_rate": ["low", "high"]},
        {"learning_rate": 1e-4},
        {"learning_rates": [1e-4, 1e-3]},
    ],
)
def test_search_that_cannot_be(given: Any) -> None:
    with pytest.raises(InputError, match="^search: "):
        Search.read(given)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"search": {"trails": 3}}, '"trials"'),
        ({"search": []}, "search: expected"),
        ({"frozen": True}, "search: "),
        ({"search": None}, "bce at 1: search"),
        ({"losses": {"zlpr": {"search": 3}}}, "zlpr: search"),
        ({"losses": {"zlpr": {"learning_rate": 1e-4}}}, "zlpr: learning_rate"),
        ({"losses": {"zlpr": {"lr": 1e-4}}}, "zlpr: learning_rate"),
        ({"settings": {"learning_rate": 1e-4}}, "settings: learning_rate"),
    ],
)
def test_plans_that_cannot_be(
    change: dict[str, Any], expected: str, content: dict[str, Any], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    check_plan_refused(content | change, tmp_path, expected, capsys)


def test_rate_on_the_command_line_is_refused(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", write_plan(tmp_path, content), "--learning_rate=1e-4"]) == 2
    assert "the command line: learning_rate" in capsys.readouterr().err


def test_fixed_hyper_parameters_stay_in_all_trials(content: dict[str, Any], tmp_path: Path) -> None:
    losses = [{"loss": "asymmetric", "margin": 0.1}]
    plan = read_plan(Path(write_plan(tmp_path, content | {"losses": losses})))
    kwargs: list[Any] = [cell.config.training.loss_kwargs for cell in plan.trials]
    assert [each["margin"] for each in kwargs] == [0.1] * 3
    assert ["gamma_negative" in each for each in kwargs] == [False, True, True]
