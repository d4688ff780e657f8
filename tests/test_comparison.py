"""zlpr compare: the plan, the statistics against naive ones, resuming, and what is written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from zlpr_hf import InputError, compute_multi_label_metrics, finetune
from zlpr_hf.cli import main
from zlpr_hf.comparison.gathering import Comparison
from zlpr_hf.comparison.plan import read_plan
from zlpr_hf.comparison.running import is_finished
from zlpr_hf.comparison.statistics import (
    PAIRED_METRICS,
    evaluate_rule,
    fit_rules,
    paired_bootstrap,
    split_into_groups,
)
from zlpr_hf.comparison.table import render_comparison

REPOSITORY = Path(__file__).parents[1]
LOSSES = ["zlpr", "bce", "powerset", "lsep"]


@pytest.fixture(scope="module")
def content(
    encoder_dir: Path,
    colour_rows: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("data") / "colours.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in colour_rows))
    return {
        "seeds": [1, 2],
        "datasets": {"Colours": {"train_file": str(data), "test_size": 0.25}},
        "losses": dict.fromkeys(LOSSES),
        "resamples": 200,
        "settings": {
            "model_name_or_path": str(encoder_dir), "pooling": "mean", "num_train_epochs": 3,
            "per_device_train_batch_size": 8, "learning_rate": 5e-3, "head_learning_rate": 1e-2,
            "max_length": 16, "save_strategy": False, "bf16": False, "disable_tqdm": True,
        },
    }  # fmt: skip


def plan_file(folder: Path, content: dict[str, Any], **changes: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("comparison")
    assert main(["compare", str(plan_file(folder, content)), f"--output_dir={folder}/out"]) == 0
    return folder / "out", Comparison.load(folder / "out" / "comparison.json")


def test_numbers_are_those_of_the_runs(finished: tuple[Path, Comparison]) -> None:
    folder, comparison = finished
    assert {(row.loss, row.rule) for row in comparison.rows} == {
        (loss, rule) for loss in LOSSES for rule in ("own", "global", "per_label")
    }
    for row in comparison.rows:
        if row.rule != "own":
            continue
        place = folder / "colours" / row.loss
        runs = [json.loads((place / f"seed{s}" / "results.json").read_text()) for s in (1, 2)]
        values = [run["test"]["this model (logit > 0)"]["f1_micro"] for run in runs]
        assert row.mean["f1_micro"] == pytest.approx(np.mean(values), abs=1e-12)
        assert row.std is not None
        assert row.std["f1_micro"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert (row.difference is None) == (row.loss == "zlpr")
    assert comparison.cost["Colours"]["powerset"]["outputs"] == 8
    assert comparison.cost["Colours"]["zlpr"]["seconds_per_step"] > 0
    assert set(comparison.yardsticks["Colours"]) == {
        "most frequent label set", "TF-IDF + linear SVM",
    }  # fmt: skip
    assert not list(folder.rglob("model.safetensors"))


def test_table_and_pictures(finished: tuple[Path, Comparison]) -> None:
    folder, comparison = finished
    text = (folder / "comparison.md").read_text()
    assert text == render_comparison(comparison, threshold_metric="f1_micro")
    row = next(r for r in comparison.rows if r.loss == "bce" and r.rule == "global")
    quality, difference = (x for x in text.splitlines() if x.startswith("| bce | one tuned off"))
    assert f"{row.mean['f1_micro']:.3f} ± {row.std['f1_micro']:.3f}" in quality
    assert f"({row.difference['f1_micro'].low:+.3f} to " in difference
    for name in ("differences-colours.svg", "groups-colours.svg"):
        assert (folder / name).read_text().startswith("<?xml")


def test_same_data_order_and_start_for_all_losses(finished: tuple[Path, Comparison]) -> None:
    configs = []
    for loss in ("zlpr", "bce"):
        path = finished[0] / "colours" / loss / "seed1" / "train_config.yaml"
        configs.append(yaml.safe_load(path.read_text()))
    for name in ("loss", "output_dir"):
        for config in configs:
            config.pop(name, None)
    assert configs[0] == configs[1]


def test_finished_runs_are_not_repeated_and_others_settings_are_refused(
    finished: tuple[Path, Comparison], content: dict[str, Any], tmp_path: Path
) -> None:
    folder = finished[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}
    path = plan_file(tmp_path, content)
    assert main(["compare", str(path), f"--output_dir={folder}", "--no_plots"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")} == before
    plan = read_plan(path, output_dir=str(folder), overrides={"num_train_epochs": "4"})
    with pytest.raises(InputError, match=r"was run with other settings \(num_train_epochs: 4"):
        is_finished(plan.cells[0])


@pytest.mark.slow
def test_killed_half_way_it_goes_on(
    finished: tuple[Path, Comparison], content: dict[str, Any], tmp_path: Path
) -> None:
    argv = ["compare", str(plan_file(tmp_path, content)), f"--output_dir={tmp_path / 'out'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zlpr_hf.cli", *argv], cwd=REPOSITORY,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    third = tmp_path / "out" / "colours" / "powerset" / "seed1" / "train_config.yaml"
    while not third.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("results.json")}
    assert len(done) == 2, "the comparison was not cut half-way"
    assert main([*argv, "--no_plots"]) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    resumed = Comparison.load(tmp_path / "out" / "comparison.json")
    assert [row.each for row in resumed.rows] == [row.each for row in finished[1].rows]


@pytest.mark.slow
def test_two_processes_share_the_work(content: dict[str, Any], tmp_path: Path) -> None:
    path = plan_file(tmp_path, content, losses=["zlpr", "powerset"], seeds=[1])
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "zlpr_hf.cli",
         "compare", str(path), f"--output_dir={tmp_path / 'out'}", "--no_plots"],
        cwd=REPOSITORY, check=True, capture_output=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    comparison = Comparison.load(tmp_path / "out" / "comparison.json")
    assert {row.loss for row in comparison.rows} == {"zlpr", "powerset"}
    results = tmp_path / "out" / "colours" / "zlpr" / "seed1" / "results.json"
    training = json.loads(results.read_text())["training"]
    assert training["processes"] == 2
    assert training["steps"] == 18  # 3 epochs of 82 rows, 16 a step: half of what one process takes


def test_dry_run_shows_the_runs_and_writes_nothing(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plan_file(tmp_path, content)
    assert main(["compare", str(path), f"--output_dir={tmp_path / 'out'}", "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("to run    Colours") == 8
    assert f"to run them: zlpr compare {path}" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": [1]}, "unknown key 'seed'; did you mean seeds?"),
        ({"seeds": "all"}, "seeds: expected a list of whole numbers, got 'all'"),
        ({"seeds": [1, 1]}, "seeds: expected different numbers"),
        ({"losses": {}}, "losses: expected names"),
        ({"losses": ["zlpr", "zpl"]}, "loss must be one of"),
        ({"losses": ["zlpr", "ZLPR "]}, "two names make the same folder, 'zlpr'"),
        ({"reference": "focal"}, "reference: expected one of zlpr, bce"),
        ({"metrics": ["f1_mikro"]}, "metrics: unknown metric 'f1_mikro'; did you mean f1_micro?"),
        ({"threshold_metric": "auc"}, "threshold_metric: expected one of f1_micro, f1_macro"),
        ({"resamples": 1}, "resamples: expected 100 or more, got 1"),
        ({"settings": {"seed": 3}}, "settings: seed is set by the comparison itself"),
        ({"settings": {"lerning_rate": 1}}, "unknown option 'lerning_rate'; did you mean learn"),
        ({"datasets": {"a": {"recipe": "none.yaml"}}}, "none.yaml"),
        ({"datasets": {"a": {"train_file": "none.csv"}}}, "none.csv"),
        ({"losses": {"a": {"loss": "zlpr", "label_smoothing_factor": 1}}}, "in [0, 1)"),
        ({"losses": {"a": {"loss": "bce", "rdrop_alpha": 1}}}, "Colours, a: rdrop_alpha"),
    ],
)  # fmt: skip
def test_wrong_plans_are_one_line_and_run_nothing(
    changes: dict[str, Any],
    message: str,
    content: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = plan_file(tmp_path, content, **changes)
    assert main(["compare", str(path), f"--output_dir={tmp_path / 'out'}"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if line.startswith("error: ")]) == 1
    assert message in errors[-1]
    assert not (tmp_path / "out").exists()


def test_a_failing_run_does_not_end_the_others(
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverging(*arguments: Any, **options: Any) -> Any:
        if arguments[2].loss == "bce":
            raise InputError("training went wrong: logits are NaN")
        return finetune(*arguments, **options)

    monkeypatch.setattr("zlpr_hf.comparison.running.finetune", diverging)
    path = plan_file(tmp_path, content, losses=["zlpr", "bce"], seeds=[1])
    argv = ["compare", str(path), f"--output_dir={tmp_path / 'out'}", "--no_plots"]
    assert main(argv) == 1
    assert "* Colours · bce · seed 1: training went wrong" in capsys.readouterr().out
    comparison = Comparison.load(tmp_path / "out" / "comparison.json")
    assert {row.loss for row in comparison.rows} == {"zlpr"}
    assert all(row.std is None for row in comparison.rows)


class TestStatistics:
    @staticmethod
    def made(seed: int = 0, rows: int = 40) -> tuple[Any, ...]:
        generator = np.random.default_rng(seed)
        truth = (generator.random((rows, 5)) < 0.3).astype(np.float32)
        truth[0, 0] = np.nan
        good = [generator.random((rows, 5)) < 0.2 + 0.6 * np.nan_to_num(truth) for _ in range(2)]
        poor = [generator.random((rows, 5)) < 0.3 for _ in range(2)]
        return truth, good, poor

    def test_differences_are_those_of_the_metrics(self) -> None:
        truth, good, poor = self.made()
        found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=100)
        assert set(found) == {"b"}
        for metric in PAIRED_METRICS:
            means = [
                np.mean(
                    [
                        compute_multi_label_metrics(run - 0.5, truth, predictions=run)[metric]
                        for run in runs
                    ]
                )
                for runs in (good, poor)
            ]
            interval = found["b"][metric]
            assert interval.difference == pytest.approx(means[1] - means[0], abs=1e-6)
            assert interval.low <= interval.difference <= interval.high

    def test_interval_is_that_of_a_naive_bootstrap(self) -> None:
        truth, good, poor = self.made(rows=30)
        draws = 2000
        found = paired_bootstrap({"a": good, "b": poor}, truth, reference="a", resamples=draws)
        generator, differences = np.random.default_rng(5), []
        for _ in range(draws):
            pick = generator.integers(0, 30, 30)
            values = []
            for runs in (good, poor):
                hits = [
                    (2 * (run & (truth >= 0.5))[pick].sum())
                    / ((run & ~np.isnan(truth))[pick].sum() + (truth >= 0.5)[pick].sum())
                    for run in runs
                ]
                values.append(np.mean(hits))
            differences.append(values[1] - values[0])
        low, high = np.percentile(differences, [2.5, 97.5])
        assert found["b"]["f1_micro"].low == pytest.approx(low, abs=0.02)
        assert found["b"]["f1_micro"].high == pytest.approx(high, abs=0.02)

    def test_equal_predictors_do_not_differ(self) -> None:
        truth, good, _ = self.made()
        found = paired_bootstrap({"a": good, "b": good}, truth, reference="a", resamples=100)
        assert all(x.difference == x.low == x.high == 0 for x in found["b"].values())
        assert not any(x.is_clear for x in found["b"].values())

    def test_groups_are_thirds_by_frequency(self) -> None:
        targets = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 0], [0, 1, 0, 0, 1, 1]])
        groups = split_into_groups(targets)
        assert {name: labels.tolist() for name, labels in groups.items()} == {
            "head": [1, 3], "middle": [4, 0], "tail": [5, 2],
        }  # fmt: skip

    def test_rules_are_fitted_on_validation(self) -> None:
        generator = np.random.default_rng(0)
        truth = (generator.random((200, 4)) < 0.3).astype(np.float32)
        logits = 2 * truth - 3 + generator.normal(size=truth.shape)  # zero lies too high
        rules = fit_rules(logits, truth, metric="f1_micro")
        groups = split_into_groups(truth)
        f1 = {name: evaluate_rule(logits, truth, rule, groups) for name, rule in rules.items()}
        assert f1["own"]["f1_micro"] < f1["global"]["f1_micro"] <= f1["per_label"]["f1_micro"]
        thirds = [f1["own"][f"f1_macro_{group}"] for group in groups]
        weights = [len(labels) for labels in groups.values()]
        assert np.average(thirds, weights=weights) == pytest.approx(f1["own"]["f1_macro"])


def test_unknown_commands_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["comprae"]) == 2
    assert "expected one of train, compare, got 'comprae'" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "zlpr compare configs/compare/quickstart.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs" / "compare").glob("*.yaml")))
def test_the_plans_of_the_repository_are_valid(path: Path) -> None:
    plan = read_plan(path)
    assert plan.cells
    assert str(plan.output_dir).startswith("out/")
    assert path.read_text().startswith("# ")
