"""zlpr compare with frozen: variants of the data, the search, and heads against scikit-learn."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
from filelock import FileLock, Timeout
from sklearn.linear_model import LogisticRegression

from tests.runs import check_plan_refused, write_plan
from zlpr_hf import InputError, build_loss
from zlpr_hf.cli.main import main
from zlpr_hf.models.features import compute_features
from zlpr_hf.workflows.comparison import frozen
from zlpr_hf.workflows.comparison.frozen import RATES, FrozenTier, read_features, train_head
from zlpr_hf.workflows.comparison.plan import read_plan
from zlpr_hf.workflows.comparison.results import Comparison
from zlpr_hf.workflows.comparison.run import LOCK_FILE
from zlpr_hf.workflows.comparison.search import RANGES, Trial, draw_trials
from zlpr_hf.workflows.comparison.variants import Variant
from zlpr_hf.workflows.load_data import load_data


def made_targets(rows: int = 200) -> Any:
    generator = np.random.default_rng(0)
    targets = (generator.random((rows, 4)) < [0.5, 0.3, 0.2, 0.9]).astype(np.float32)
    targets[0, 0] = np.nan
    return targets


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_missing_positives_remove_a_share_of_each_label(share: float) -> None:
    targets = made_targets()
    changed = Variant.read({"missing_positives": share}).change_targets(targets, seed=1)
    before, after = (np.nansum(each, axis=0) for each in (targets, changed))
    assert after.tolist() == [count - round(share * count) for count in before.tolist()]
    assert np.isnan(changed[0, 0])
    assert not np.any((changed == 1) & (targets == 0))


def test_flipped_tags_keep_their_frequency() -> None:
    targets = made_targets()
    changed = Variant.read({"flipped": 0.3}).change_targets(targets, seed=1)
    assert np.nansum(changed, axis=0).tolist() == np.nansum(targets, axis=0).tolist()
    moved = ((changed == 0) & (targets == 1)).sum(0)
    rarer = np.minimum(np.nansum(targets, axis=0), (targets == 0).sum(0))
    assert moved.tolist() == [round(0.3 * count) for count in rarer.tolist()]


def test_single_positive_leaves_each_row_one_tag_of_its_own() -> None:
    targets = np.nan_to_num(made_targets())
    changed = Variant.read({"single_positive": True}).change_targets(targets, seed=1)
    assert changed.sum(1).tolist() == np.minimum(targets.sum(1), 1).tolist()
    assert np.all(changed <= targets)


def test_texts_per_label_draws_rows_of_each_label() -> None:
    targets = np.nan_to_num(made_targets())
    rows = np.arange(20, 200)
    chosen = Variant.read({"texts_per_label": 8}).choose_rows(targets, rows, seed=1)
    assert set(chosen) <= set(rows)
    assert np.all(targets[chosen].sum(0) >= 8)
    assert len(chosen) <= 32


@pytest.mark.parametrize(
    "given",
    [{"flipped": 1.0}, {"fliped": 0.1}, {"texts_per_label": 0}, {"single_positive": 2}, "flipped"],
)
def test_variants_that_cannot_be(given: Any) -> None:
    with pytest.raises(InputError, match="^variant: "):
        Variant.read(given)


def draw(loss: str, fixed: dict[str, float], *, count: int, search: bool = True) -> list[Trial]:
    return list(draw_trials(loss, fixed, rates=RATES, count=count, seed=3, search=search))


def test_each_loss_has_the_same_rates_and_starts_with_its_defaults() -> None:
    plain, searched = draw("lsep", {}, count=7), draw("bce", {}, count=7)
    fixed = draw("bce", {}, count=7, search=False)
    assert (len(plain), len(searched)) == (7, 7)
    assert plain[0] == searched[0] == fixed[0]
    assert all(each.loss_kwargs == {} for each in (*plain, *fixed))
    low, high = RANGES["bce"]["positive_weight"]
    assert all(low <= each.loss_kwargs["positive_weight"] <= high for each in searched[1:])
    given = draw("focal", {"gamma": 1.5}, count=3)
    assert {each.loss_kwargs["gamma"] for each in given} == {1.5}


@pytest.mark.parametrize("name", RANGES)
def test_searched_values_are_allowed(name: str) -> None:
    for trial in draw(name, {}, count=33):
        kwargs: dict[str, Any] = dict(trial.loss_kwargs)
        assert build_loss(name, train_targets=np.eye(3), **kwargs) is not None
    for ends in zip(*RANGES[name].values(), strict=True):
        kwargs = dict(zip(RANGES[name], ends, strict=True))
        assert build_loss(name, train_targets=np.eye(3), **kwargs) is not None


def test_head_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(120, 5)).astype(np.float32)
    targets = (features[:, :1] + generator.normal(size=(120, 1)) > 0).astype(np.float32)
    decay = 0.02
    weight, bias = train_head(
        build_loss("bce"),
        features,
        targets,
        Trial({"learning_rate": 0.3, "weight_decay": decay}, {}),
        steps=2000,
    )
    other = LogisticRegression(C=1 / (2 * decay * 120), tol=1e-8, max_iter=1000)
    other.fit(features, targets[:, 0])
    assert weight[:, 0].tolist() == pytest.approx(other.coef_[0].tolist(), abs=1e-3)
    assert bias.tolist() == pytest.approx(other.intercept_.tolist(), abs=1e-3)


@pytest.mark.parametrize(
    "given", [{"trials": 0}, {"share": 2.0}, {"trails": 3}, [3], {"steps": "many"}]
)
def test_frozen_settings_that_cannot_be(given: Any) -> None:
    with pytest.raises(InputError, match="^frozen: "):
        FrozenTier.read(given)


@pytest.fixture
def content(encoder_dir: Path, rows_file: Path) -> dict[str, Any]:
    rows = {"train_file": str(rows_file), "test_size": 0.25, "validation_size": 0.25}
    return {
        "seeds": [1, 2],
        "frozen": {"trials": 3, "steps": 20},
        "datasets": {
            "colours": rows,
            "fewer tags": {**rows, "variant": {"missing_positives": 0.3}},
            "few texts": {**rows, "variant": {"texts_per_label": 4}, "seeds": [1, 2]},
        },
        "losses": {"zlpr": None, "bce": None, "bce at 1": {"loss": "bce", "search": False}},
        "resamples": 100,
        "settings": {"model_name_or_path": str(encoder_dir), "pooling": "mean", "bf16": False},
    }


def test_frozen_comparison_runs_and_is_not_repeated(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path, content)
    assert main(["compare", plan, "--no_plots"]) == 0
    assert capsys.readouterr().out.count("[") == 18
    comparison = Comparison.load(tmp_path / "out" / "comparison.json")
    assert {len(row.seeds) for row in comparison.rows} == {2}
    assert len(comparison.rows) == 3 * 3 * 3
    assert set(comparison.baselines) == {"colours"}  # those of a variant would see the whole data
    table = (tmp_path / "out" / "comparison.md").read_text()
    assert "average rank" in table
    assert len(list((tmp_path / "out" / "features").glob("*.npz"))) == 1
    results = tmp_path / "out" / "few_texts" / "zlpr" / "seed1" / "results.json"
    before = results.stat().st_mtime_ns
    assert main(["compare", plan, "--no_plots"]) == 0
    assert results.stat().st_mtime_ns == before
    assert main(["compare", write_plan(tmp_path, content | {"frozen": {"trials": 2}})]) == 2
    assert "frozen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"frozen": None}, "goes with frozen"),
        ({"losses": {"zlpr": {"label_smoothing_factor": 0.1}}}, "label_smoothing_factor"),
        ({"losses": {"zlpr": {"search": "no"}}}, "search"),
        ({"datasets": {"colours": {"train_file": "x.csv", "seeds": [1, 1]}}}, "colours: expected"),
    ],
)
def test_plans_that_cannot_be(
    change: dict[str, Any], expected: str, content: dict[str, Any], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    check_plan_refused(content | change, tmp_path, expected, capsys)


def test_features_are_computed_once_for_processes_that_need_them_together(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(Path(write_plan(tmp_path, content)))
    config = plan.cells[0].config
    data = load_data(config.data)
    computed: list[int] = []
    together = Barrier(2)

    def count(*args: Any, **kwargs: Any) -> Any:
        computed.append(get_ident())
        return compute_features(*args, **kwargs)

    def read(_: int) -> dict[str, Any]:
        together.wait()
        return read_features(config, data, tmp_path)

    monkeypatch.setattr(frozen, "compute_features", count)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(read, range(2))
    assert len(computed) == 3
    assert len(set(computed)) == 1
    for split in ("train", "validation", "test"):
        assert np.array_equal(first[split], second[split])


def test_results_are_written_by_one_process_at_a_time(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content["seeds"], content["datasets"] = [1], {"colours": content["datasets"]["colours"]}
    locked: list[str] = []

    def save(_: Comparison, folder: Path) -> None:
        with pytest.raises(Timeout):
            FileLock(folder / LOCK_FILE).acquire(blocking=False)
        locked.append(folder.name)

    monkeypatch.setattr(Comparison, "save", save)
    assert main(["compare", write_plan(tmp_path, content), "--no_plots"]) == 0
    assert locked == ["out"]


def test_processes_share_the_cells(content: dict[str, Any], tmp_path: Path) -> None:
    content["seeds"], content["datasets"] = [1], {"colours": content["datasets"]["colours"]}
    plan = write_plan(tmp_path, content)
    words = [sys.executable, "-m", "zlpr_hf.cli", "compare", plan, "--no_plots"]
    running = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs, errors = zip(*(process.communicate() for process in running), strict=True)
    assert [process.returncode for process in running] == [0, 0], "".join(errors)
    assert sum(output.count(" · seed 1") for output in outputs) == 3
    assert len(Comparison.load(tmp_path / "out" / "comparison.json").rows) == 9
