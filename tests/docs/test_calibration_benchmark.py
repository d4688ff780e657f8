"""The command that measures the scores of finished runs before and after the temperature."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import calibration
from zlpr_hf import Report
from zlpr_hf.metrics.calibration import Calibration
from zlpr_hf.workflows.run_report import save_logits


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, size=(rows, 6))
    return logits, (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path, finished: tuple[Path, Report]) -> Path:
    """A run whose logits are right with the temperature in its head."""
    folder = tmp_path / "made"
    folder.mkdir()
    splits = {"validation": draw(2000, 0), "test": draw(3000, 1)}
    save_logits(
        folder / "logits.npz",
        {name: logits for name, (logits, _) in splits.items()},
        {name: targets for name, (_, targets) in splits.items()},
    )
    results = json.loads((finished[0] / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {"temperature": 3.0}))
    return folder


def test_run_is_measured_before_and_after_its_temperature(run: Path) -> None:
    found = calibration.measure(run)
    logits, targets = draw(3000, 1)
    assert found["temperature"] == pytest.approx(3, rel=0.05)
    assert found["before"] == pytest.approx(vars(Calibration.measure(3 * logits, targets)))
    assert found["after"]["ece"] < 0.02 < 0.05 < found["before"]["ece"]
    assert found["perfect"] < 0.02
    raw = calibration.measure(run / "logits.npz")  # without results.json there is no temperature
    assert raw["temperature"] == pytest.approx(1, rel=0.05)


def test_error_of_perfect_scores_is_that_of_chance() -> None:
    rows = 400
    mean = (2 / np.pi) ** 0.5 * 0.5 / rows**0.5  # of |heads / rows - 0.5| for a fair coin
    found = calibration.measure_perfect_scores(np.zeros((rows, 1)), np.zeros((rows, 1), np.float32))
    assert found == pytest.approx(mean, rel=0.25)
    logits, targets = np.array([[-800.0, 800.0]]), np.array([[0.0, 1.0]], np.float32)
    assert calibration.measure_perfect_scores(logits, targets) == 0


def test_command_stores_what_the_table_shows(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "RESULTS", tmp_path)
    calibration.main([f"Made={run}", str(run / "logits.npz")])
    printed = capsys.readouterr().out
    stored = json.loads((tmp_path / "calibration.json").read_text())["runs"]
    assert list(stored) == ["Made", "logits"]
    assert calibration.render_table() in printed
    assert f"{stored['Made']['before']['ece']:.3f}" in printed
    assert str(tmp_path) not in (tmp_path / "calibration.json").read_text()
