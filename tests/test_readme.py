"""The README: its scripts run, its figures are those of the committed runs."""

import json
import re
import statistics
from pathlib import Path

import pytest

from zlpr_hf.report import MODEL_ROW

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SVM_ROW = "TF-IDF + linear SVM"
COLUMNS = ("f1_micro", "f1_macro", "subset_accuracy")
RUNS = {
    "CWE": "quickstart-seed*.json",
    "Reuters-90": "reuters.json",
    "GoEmotions": "go_emotions.json",
}


def test_scripts_run_as_they_stand(
    encoder_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    train, use = BLOCKS
    assert len([line for line in train.splitlines() if line.strip()]) <= 15
    exec(train.replace("google-bert/bert-base-uncased", str(encoder_dir)), {})
    assert (tmp_path / "out" / "mine" / "model.safetensors").is_file()
    capsys.readouterr()
    exec(use, {})
    assert capsys.readouterr().out.startswith("[")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("predictor", [SVM_ROW, MODEL_ROW])
def test_figures_are_those_of_the_runs(name: str, predictor: str) -> None:
    runs = [
        json.loads(path.read_text()) for path in sorted((REPOSITORY / "results").glob(RUNS[name]))
    ]
    assert len(runs) == (3 if name == "CWE" else 1)
    assert all(run["output_dir"].startswith("out/") for run in runs)
    means = [statistics.mean(run["test"][predictor][column] for run in runs) for column in COLUMNS]
    figures = " / ".join(f"{value:.3f}" for value in means)
    row = next(line for line in README.splitlines() if line.startswith(f"| {name}"))
    assert figures in row.replace("**", "")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (REPOSITORY / target).exists(), target
