"""zlpr tune: what is searched, what survives a kill, and that its best configuration holds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from tests.conftest import run
from zlpr_hf.cli import main
from zlpr_hf.errors import InputError
from zlpr_hf.training_arguments import ZLPRTrainingArguments
from zlpr_hf.tuning.plan import Plan, plan_tuning
from zlpr_hf.tuning.running import tune
from zlpr_hf.tuning.space import SearchSpace

REPOSITORY = Path(__file__).parents[1]
SPACE = {
    "learning_rate": {"low": "1e-4", "high": 2e-2, "log": True},
    "per_device_train_batch_size": [8, 16],
}


def config_file(command: list[str], folder: Path, **more: Any) -> Path:
    """The options of a short run as a configuration, with a section for the search."""
    values: dict[str, Any] = dict(word.removeprefix("--").split("=", 1) for word in command)
    values |= {"num_train_epochs": 3, "disable_tqdm": True, "search_space": SPACE} | more
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in values.items() if value}))
    return path


def plan_of(config: Path, folder: Path, *options: str, **changes: Any) -> Plan:
    settings: dict[str, Any] = {"metric": "lrap", "prune": False, "output_dir": folder} | changes
    return plan_tuning(config, list(options), **settings)


def numbers(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [(t.state, t.value, t.params, t.intermediate_values) for t in trials]


@pytest.fixture(scope="module")
def searched(
    command: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[FrozenTrial], list[str]]:
    """Configuration, folder, trials and lines of an undisturbed search. Not to be changed."""
    folder = tmp_path_factory.mktemp("search")
    config, said = config_file(command, folder), []
    trials = tune(plan_of(config, folder / "out"), 4, say=said.append)
    return config, folder / "out", trials, said


def test_trials_and_what_is_said_of_them(searched: Any) -> None:
    _, folder, trials, said = searched
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert trials[0].params == {"learning_rate": 5e-3, "per_device_train_batch_size": 8}
    assert len({trial.params["learning_rate"] for trial in trials}) == 4
    assert [list(trial.intermediate_values) for trial in trials] == [[1, 2, 3]] * 4
    best = max(trial.value for trial in trials)
    for number, (trial, line) in enumerate(zip(trials, said, strict=False), start=1):
        assert line.startswith(f"trial {number}/4: lrap {trial.value:.4f} (best ")
    *_, table = said
    assert table.splitlines()[2].split()[1] == f"{best:.4f}"
    assert table.endswith("4 trials: 4 whole, 0 cut short, 0 failed")
    left = {path.name for path in folder.iterdir()} - {"lock"}
    assert left == {"best.yaml", "journal.jsonl"}, "models of trials are not kept"


@pytest.mark.slow
def test_best_configuration_gives_the_metric_of_its_trial(searched: Any) -> None:
    _, folder, trials, _ = searched
    best = max(trials, key=lambda trial: trial.value)
    text = (folder / "best.yaml").read_text()
    assert text.startswith(f"# The best of 4 trials, number {best.number + 1}: lrap {best.value!r}")
    values = yaml.safe_load(text)
    assert values["output_dir"] == str(folder / "best")
    rate = best.params["learning_rate"]
    assert values["head_learning_rate"] == pytest.approx(2 * rate), "as in the configuration"
    report = run([str(folder / "best.yaml")], folder.parent / "best")
    assert report.validation["lrap"] == best.value
    state = next((folder.parent / "best").glob("checkpoint-*/trainer_state.json"))
    logged = json.loads(state.read_text())["log_history"]
    epochs = [line["eval_lrap"] for line in logged if "eval_lrap" in line]
    assert epochs == list(best.intermediate_values.values())[: len(epochs)]


@pytest.mark.slow
def test_killed_it_goes_on_and_nothing_is_lost(searched: Any, tmp_path: Path) -> None:
    config, _, undisturbed, _ = searched
    plan = plan_of(config, tmp_path / "out")
    argv = ["tune", str(config), "--trials=4", "--metric=lrap", "--no_pruning"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zlpr_hf.cli", *argv, f"--output_dir={tmp_path / 'out'}"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert next(line for line in lines if line.startswith("trial ")).startswith("trial 1/4: ")
    journal = tmp_path / "out" / "journal.jsonl"
    while len(_running(journal)) == 0 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not (tmp_path / "out" / "best.yaml").exists(), "the search was not cut half-way"
    with journal.open("a") as file:
        file.write('{"op_code": 8, "work')  # as a kill in the middle of a write leaves it
    (tmp_path / "out" / "journal.jsonl.lock").symlink_to(journal)
    said: list[str] = []
    assert numbers(tune(plan, 4, say=said.append)) == numbers(undisturbed)
    assert said[0].startswith("trial 2/4: ")
    assert numbers(tune(plan, 4, say=said.append)) == numbers(undisturbed)


def _running(journal: Path) -> list[int]:
    """Trials that have begun and not ended, read from the lines of the journal."""
    begun, ended = set(), set()
    for line in journal.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # it is being written
            continue
        if entry["op_code"] == 9:  # values of a trial as it is evaluated
            begun.add(entry["trial_id"])
        if entry["op_code"] == 6 and entry["state"] in (1, 2, 3):
            ended.add(entry["trial_id"])
    return sorted(begun - ended)
