"""zlpr compare: the plan, the statistics against naive ones, resuming, and the written files."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from zlpr_hf import InputError
from zlpr_hf.cli.main import main
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.plots import draw_comparison
from zlpr_hf.workflows.comparison.results import Comparison
from zlpr_hf.workflows.comparison.run import UNKEPT_FILE, is_finished
from zlpr_hf.workflows.comparison.table import render_comparison, render_summary
from zlpr_hf.workflows.finetune import finetune_config
from zlpr_hf.workflows.option_words import RENAMED_OPTIONS

REPOSITORY = Path(__file__).parents[2]
LOSSES = ["zlpr", "bce", "powerset", "lsep"]


@pytest.fixture(scope="module")
def content(encoder_dir: Path, rows_file: Path) -> dict[str, Any]:
    return {
        "seeds": [1, 2],
        "datasets": {"Colours": {"train_file": str(rows_file), "test_size": 0.25}},
        "losses": dict.fromkeys(LOSSES),
        "resamples": 200,
        "settings": {
            "model_name_or_path": str(encoder_dir), "pooling": "mean", "num_train_epochs": 3,
            "per_device_train_batch_size": 8, "learning_rate": 5e-3, "head_learning_rate": 1e-2,
            "max_length": 16, "save_strategy": "no", "bf16": False, "disable_tqdm": True,
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


def test_numbers_equal_those_of_the_runs(finished: tuple[Path, Comparison]) -> None:
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
    assert set(comparison.baselines["Colours"]) == {
        "most frequent label set", "TF-IDF + linear SVM",
    }  # fmt: skip
    assert not list(folder.rglob("model.safetensors"))


def test_table_and_plots_show_the_numbers(finished: tuple[Path, Comparison]) -> None:
    folder, comparison = finished
    text = (folder / "comparison.md").read_text()
    assert text == render_comparison(comparison, threshold_metric="f1_micro")
    row = next(r for r in comparison.rows if r.loss == "bce" and r.rule == "global")
    quality, difference = (
        x for x in text.splitlines() if x.startswith("| bce | one tuned offset |")
    )
    assert f"{row.mean['f1_micro']:.3f} ± {row.std['f1_micro']:.3f}" in quality
    interval = row.difference["f1_micro"]
    assert f"{interval.difference:+.3f}" in difference
    assert (interval.ends is None) == (" to " not in difference)
    summary = render_summary(comparison)
    assert max(map(len, summary.splitlines())) <= 80
    assert f"{row.mean['f1_micro']:.3f}" in summary
    for name in ("differences-colours.svg", "groups-colours.svg"):
        assert (folder / name).read_text().startswith("<?xml")


def test_missing_interval_is_explained_in_table_summary_and_plot(
    finished: tuple[Path, Comparison], tmp_path: Path
) -> None:
    missing = Difference(0.5, None, None, "fewer than 10 rows for 2 of 3 labels")
    rows = [
        replace(row, difference=row.difference and row.difference | {"f1_macro": missing})
        for row in finished[1].rows
    ]
    changed = replace(finished[1], rows=tuple(rows))
    changed.save(tmp_path)
    assert Comparison.load(tmp_path / "comparison.json") == changed
    table, summary = (
        render_comparison(changed, threshold_metric="f1_micro"), render_summary(changed)
    )  # fmt: skip
    for text in (table, summary):
        assert text.count(f"macro-F1: no interval, {missing.missing}") == 1
    assert "| +0.500 |" in table
    assert max(map(len, summary.splitlines())) <= 80
    assert all(path.stat().st_size for path in draw_comparison(changed, tmp_path))


def test_comparison_of_an_earlier_version_is_read(
    finished: tuple[Path, Comparison], tmp_path: Path
) -> None:
    content = json.loads((finished[0] / "comparison.json").read_text())
    for row in content["rows"]:
        for interval in (row["difference"] or {}).values():
            del interval["missing"]
            interval |= {"low": -1.0, "high": 1.0}
    (tmp_path / "old.json").write_text(json.dumps(content))
    rows = Comparison.load(tmp_path / "old.json").rows
    intervals = [each for row in rows for each in (row.difference or {}).values()]
    assert {(each.ends, each.missing) for each in intervals} == {((-1.0, 1.0), "")}


def test_runs_of_two_losses_differ_in_the_loss_only(finished: tuple[Path, Comparison]) -> None:
    configs = []
    for loss in ("zlpr", "bce"):
        path = finished[0] / "colours" / loss / "seed1" / "train_config.yaml"
        configs.append(yaml.safe_load(path.read_text()))
    for name in ("loss", "output_dir"):
        for config in configs:
            config.pop(name, None)
    assert configs[0] == configs[1]


def test_kept_weights_stay_and_others_are_removed(content: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "out" / "colours" / "zlpr" / "seed1"

    def compare(*, keep: bool) -> set[str]:
        changes = {"seeds": [1], "losses": {"zlpr": None}, "keep_models": keep}
        path = plan_file(tmp_path, content, **changes)
        assert main(["compare", str(path), f"--output_dir={tmp_path / 'out'}", "--no_plots"]) == 0
        return {each.name for each in place.iterdir()}

    kept = compare(keep=True)
    assert "model.safetensors" in kept
    assert compare(keep=False) == kept, "made when they were to stay"
    (place / UNKEPT_FILE).touch()  # of a run that was killed before it removed them
    assert compare(keep=False) == kept - {"model.safetensors", "tokenizer.json"}


def test_finished_runs_are_not_repeated_and_changed_settings_are_refused(
    finished: tuple[Path, Comparison], content: dict[str, Any], tmp_path: Path
) -> None:
    folder = finished[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")}
    path = plan_file(tmp_path, content)
    assert main(["compare", str(path), f"--output_dir={folder}", "--no_plots"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("results.json")} == before
    plan = read_plan(path, output_dir=str(folder))
    (old_name,) = [old for old, new in RENAMED_OPTIONS.items() if new == "baselines"]
    config = plan.cells[0].folder / "train_config.yaml"
    written = config.read_text()
    older = [line for line in written.splitlines() if not line.startswith("cpu_speedups")]
    config.write_text("\n".join(older).replace("baselines:", f"{old_name}:"))
    assert is_finished(plan.cells[0]), "a run of an earlier version with the same settings"
    config.write_text(written)
    plan = read_plan(path, output_dir=str(folder), overrides={"num_train_epochs": "4"})
    with pytest.raises(InputError, match=r"other settings .*num_train_epochs: 4"):
        is_finished(plan.cells[0])


@pytest.mark.slow
def test_killed_comparison_resumes(
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
    assert (
        training["steps"] == 18
    )  # 3 epochs of 82 rows, 16 per step: half the steps of one process


def test_dry_run_lists_the_runs_and_writes_nothing(
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
        ({"seed": [1]}, 'Did you mean "seeds"?'),
        ({"seeds": "all"}, "seeds: expected a list of different whole numbers, got 'all'"),
        ({"seeds": [1, 1]}, "seeds: expected a list of different whole numbers"),
        ({"losses": {}}, "losses: expected names"),
        ({"losses": ["zlpr", "zpl"]}, "loss must be one of"),
        ({"losses": ["zlpr", "ZLPR "]}, "share the folder 'zlpr'"),
        ({"reference": "focal"}, "reference: expected one of zlpr, bce"),
        ({"metrics": "f1_micro"}, "metrics: expected a list of metrics, got 'f1_micro'"),
        ({"metrics": ["brier"]}, "metrics: brier requires probabilities"),
        ({"metrics": ["precision_at_5"]}, "metrics: unknown metric 'precision_at_5'"),
        ({"settings": {"loss": "bce"}}, "settings: the losses are compared; set them under losses"),
        ({"metrics": ["f1_mikro"]}, 'Did you mean "f1_micro"?'),
        ({"threshold_metric": "auc"}, "threshold_metric: expected one of f1_micro, f1_macro"),
        ({"resamples": 1}, "resamples: expected 100 or more, got 1"),
        ({"settings": {"seed": 3}}, "settings: seed is set by the comparison itself"),
        ({"settings": {"lerning_rate": 1}}, 'Did you mean "learning_rate"?'),
        ({"datasets": {"a": {"recipe": "none.yaml"}}}, "none.yaml"),
        ({"datasets": {"a": {"train_file": "none.csv"}}}, "none.csv"),
        ({"losses": {"a": {"loss": "zlpr", "label_smoothing_factor": 1}}}, "in [0, 1)"),
        ({"losses": {"a": {"loss": "bce", "rdrop_alpha": 1}}}, "Colours, a: rdrop_alpha"),
    ],
)  # fmt: skip
def test_invalid_plan_is_one_line_and_runs_nothing(
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


def test_losses_may_train_on_different_rows_but_share_their_test_rows(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {"zlpr": None, "few": {"loss": "zlpr", "max_train_samples": 16}}
    path = plan_file(tmp_path, content, losses=losses, seeds=[1])
    argv = ["compare", str(path), f"--output_dir={tmp_path / 'out'}", "--no_plots"]
    assert main(argv) == 0
    steps = [
        json.loads((tmp_path / "out" / "colours" / loss / "seed1" / "results.json").read_text())
        for loss in losses
    ]
    assert [run["training"]["steps"] for run in steps] == [33, 6]
    losses["few"]["test_size"] = 0.3
    plan_file(tmp_path, content, losses=losses, seeds=[1])
    assert main([*argv, f"--output_dir={tmp_path / 'other'}"]) == 2
    assert "Colours: all losses must share its" in capsys.readouterr().err


def test_run_with_changed_settings_or_rows_is_refused(
    content: dict[str, Any], tmp_path: Path
) -> None:
    path = plan_file(tmp_path, content, losses=["zlpr", "bce"], seeds=[1])
    argv = ["compare", str(path), f"--output_dir={tmp_path / 'out'}", "--no_plots"]
    assert main(argv) == 0
    folder = tmp_path / "out" / "colours" / "bce" / "seed1"
    (folder / "results.json").unlink()  # as if it had been killed
    assert main([*argv, "--weight_decay=0.5"]) == 2
    assert main(argv) == 0
    data = Path(content["datasets"]["Colours"]["train_file"])
    before = data.read_text()
    try:
        data.write_text("".join(reversed(before.splitlines(keepends=True))))
        assert main(argv) == 2, "old logits scored on other rows"
    finally:
        data.write_text(before)
    assert main(argv) == 0


def test_command_line_does_not_rename_losses(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {"zlpr": None, "a": {"loss": "zlpr", "rdrop_alpha": 1}}
    path = str(plan_file(tmp_path, content, losses=losses))
    for option, message in (("--loss=bce", "under losses"), ("--rdrop_alpha=0", "set for 'a'")):
        assert main(["compare", path, option, "--dry_run"]) == 2
        assert message in capsys.readouterr().err


def test_failing_run_does_not_end_the_others(
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverging(config: Any, **options: Any) -> Any:
        if config.training.loss == "bce":
            raise RuntimeError("training went wrong:\n logits are NaN")
        return finetune_config(config, **options)

    monkeypatch.setattr("zlpr_hf.workflows.comparison.run.finetune_config", diverging)
    path = plan_file(tmp_path, content, losses=["zlpr", "bce"], seeds=[1])
    argv = ["compare", str(path), f"--output_dir={tmp_path / 'out'}", "--no_plots"]
    assert main(argv) == 1
    assert "failed: Colours · bce · seed 1: training went wrong" in capsys.readouterr().out
    comparison = Comparison.load(tmp_path / "out" / "comparison.json")
    assert {row.loss for row in comparison.rows} == {"zlpr"}
    assert all(row.std is None for row in comparison.rows)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs" / "compare").glob("*.yaml")))
def test_plan_of_the_repository_is_valid(path: Path) -> None:
    plan = read_plan(path)
    assert plan.cells
    assert str(plan.output_dir).startswith("out/")
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(("settings", "alpha"), [({}, 0.0), ({"contrastive_alpha": 0.5}, 0.5)])
def test_losses_are_compared_without_an_added_one(
    settings: dict[str, Any], alpha: float, content: dict[str, Any], tmp_path: Path
) -> None:
    own = content["settings"] | settings
    plan = read_plan(plan_file(tmp_path, content, settings=own, losses=["zlpr", "bce"]))
    assert {cell.config.training.contrastive_alpha for cell in plan.cells} == {alpha}
    assert not any("contrastive_alpha" in cell.config.auto for cell in plan.cells)
    assert {cell.config.data.folds for cell in plan.cells} == {0}
