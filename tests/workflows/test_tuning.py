"""zlpr tune: search space, resuming after a kill, and the best configuration."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from tests.runs import run
from zlpr_hf.data.dataset import fingerprint
from zlpr_hf.errors import InputError
from zlpr_hf.training.arguments import ZLPRTrainingArguments
from zlpr_hf.workflows.load_data import load_data
from zlpr_hf.workflows.tuning.journal import STUDY, find_finished, open_journal, open_study
from zlpr_hf.workflows.tuning.plan import Plan, plan_tuning
from zlpr_hf.workflows.tuning.run import tune
from zlpr_hf.workflows.tuning.space import SearchSpace

TRAINER = "zlpr_hf.training.trainer.ZLPRTrainer"
REPOSITORY = Path(__file__).parents[2]
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
    trials = tune(plan_of(config, folder / "out"), 4, log=said.append)
    return config, folder / "out", trials, said


def test_each_trial_is_logged(searched: Any) -> None:
    _, folder, trials, said = searched
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert trials[0].params == {"learning_rate": 5e-3, "per_device_train_batch_size": 8}
    assert len({trial.params["learning_rate"] for trial in trials}) == 4
    assert [list(trial.intermediate_values) for trial in trials] == [[1, 2, 3]] * 4
    best = max(trial.value for trial in trials)
    for number, (trial, line) in enumerate(zip(trials, said, strict=False), start=1):
        assert line.startswith(f"trial {number}/4: lrap {trial.value:.4f} (best ")
    *_, table = said
    assert table.splitlines()[2].split()[:2] == ["lrap", f"{best:.4f}"]
    assert table.endswith("4 trials: 4 completed, 0 pruned, 0 failed")
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
def test_killed_search_resumes_with_the_same_trials(searched: Any, tmp_path: Path) -> None:
    config, _, undisturbed, _ = searched
    plan = plan_of(config, tmp_path / "out")
    argv = ["tune", str(config), "--trials=4", "--metric=lrap", "--no_pruning"]
    journal = tmp_path / "out" / "journal.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "zlpr_hf.cli", *argv, f"--output_dir={tmp_path / 'out'}"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("trial 1/4: ")
        while not _running(journal) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out" / "best.yaml").exists(), "the search was not cut half-way"
    with journal.open("a") as file:
        file.write('{"op_code": 8, "work')  # as a kill in the middle of a write leaves it
    lock = journal.with_name("journal.jsonl.lock")  # or it was killed while it held this
    lock.unlink(missing_ok=True)
    lock.symlink_to(journal)
    said: list[str] = []
    assert numbers(tune(plan, 4, log=said.append)) == numbers(undisturbed)
    assert said[0].startswith("resuming: 1 of 4 trials are in ")
    assert said[1].startswith("trial 2/4: ")
    assert numbers(tune(plan, 4, log=said.append)) == numbers(undisturbed)


def _running(journal: Path) -> list[int]:
    """Trials that have begun and not ended, read from the lines of the journal."""
    begun, ended = set(), set()
    for line in journal.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # it is being written
            continue
        if entry["op_code"] == 7:  # values of a trial as it is evaluated
            begun.add(entry["trial_id"])
        if entry["op_code"] == 6 and entry["state"] in (1, 2, 3):
            ended.add(entry["trial_id"])
    return sorted(begun - ended)


def test_trial_below_the_median_is_pruned(searched: Any, tmp_path: Path) -> None:
    """The first four trials are better at every epoch than any trial can be."""
    config, _, trials, _ = searched
    plan = plan_of(config, tmp_path / "out", "--contrastive_alpha=0", "--dropout=0", prune=True)
    data = load_data(plan.config.data)
    known = fingerprint({name: data.splits[name] for name in ("train", "validation")})
    with open_journal(tmp_path / "out") as storage:
        study = open_study(storage, plan, plan.describe(), known)
        for trial in trials:
            study.add_trial(
                optuna.trial.create_trial(
                    value=2.0, params=trial.params, distributions=trial.distributions,
                    intermediate_values={1: 2.0, 2: 2.0, 3: 2.0},
                )
            )  # fmt: skip
    said: list[str] = []
    *_, last = tune(plan, 5, log=said.append)
    assert last.state == TrialState.PRUNED
    assert list(last.intermediate_values) == [1, 2], "never after the first epoch"
    assert said[1].startswith("trial 5/5: pruned after epoch 2: lrap ")
    assert said[2].endswith("5 trials: 4 completed, 1 pruned, 0 failed")


def test_failed_trials_are_logged_and_count(
    searched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(searched[0], tmp_path / "out")
    monkeypatch.setattr(f"{TRAINER}.compute_loss", Mock(side_effect=RuntimeError("out of\nmemory")))
    said: list[str] = []
    with pytest.raises(InputError, match="none of 2 trials completed"):
        tune(plan, 2, log=said.append)
    assert [line.split(" · ")[0] for line in said] == [
        "trial 1/2: failed: out of memory",
        "trial 2/2: failed: out of memory",
    ]
    diverged = Mock(side_effect=FloatingPointError("training stopped at step 1"))
    monkeypatch.setattr(f"{TRAINER}.compute_loss", diverged)
    with pytest.raises(InputError, match="none of 3 trials completed"):
        tune(plan, 3, log=said.append)
    assert said[-1].startswith("trial 3/3: failed: training stopped at step 1")
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(f"{TRAINER}.compute_loss", full)
    with pytest.raises(OSError, match="No space left"):
        tune(plan, 4, log=said.append)
    monkeypatch.undo()
    monkeypatch.setattr(f"{TRAINER}.compute_loss", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tune(plan, 4, log=said.append)
    with open_journal(tmp_path / "out") as storage:
        study = optuna.load_study(study_name=STUDY, storage=storage)
        assert len(find_finished(study)) == 3, "interrupted trials and full disks do not count"


def test_fraction_of_warm_up_steps_stays_a_fraction(searched: Any, tmp_path: Path) -> None:
    """The search casts a value to the type of the default, which for warm-up is a whole number."""
    arguments = ZLPRTrainingArguments(output_dir=str(tmp_path))
    assert type(arguments.warmup_steps) is float
    assert type(arguments.warmup_steps)(0.25) == 0.25
    assert type(plan_of(searched[0], tmp_path / "out").config.training.warmup_steps) is float


def test_test_split_does_not_affect_a_trial(
    searched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial does not change when the texts and labels of the test rows are wrong."""
    config, _, trials, _ = searched
    plan = plan_of(config, tmp_path / "out")
    data = load_data(plan.config.data)
    data.splits["test"] = data.splits["test"].map(
        lambda row: {"text": "cat", "label_ids": [0], "label_values": [1.0]},
        load_from_cache_file=False,
    )
    monkeypatch.setattr("zlpr_hf.workflows.prepare.load_data", lambda *_, **__: data)
    assert numbers(tune(plan, 1, log=lambda text: None)) == numbers(trials[:1])


def refusal(config: Path, folder: Path, *options: str, **changes: Any) -> str:
    with pytest.raises(InputError) as refused:
        tune(plan_of(config, folder, *options, **changes), 1, log=lambda text: None)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("wide", "search_space: expected names and their values, got 'wide'"),
        ({"learning_rates": [1e-3]}, '"learning_rate"?'),
        ({"learning_rate": 1e-3}, "learning_rate: expected a list of values, or low and high"),
        ({"learning_rate": {"lo": 1, "high": 2}}, 'Did you mean "low"?'),
        ({"learning_rate": {"low": 1e-3}}, "learning_rate: expected low and high"),
        ({"learning_rate": {"low": 2, "high": 1}}, "expected low below high, got 2 and 1"),
        ({"weight_decay": {"low": 0, "high": 1, "log": True}}, "log needs low above 0"),
        ({"weight_decay": {"low": 0, "high": 1, "log": 1}}, "log: expected true or false"),
        ({"weight_decay": {"low": 0, "high": 1, "step": 2}}, "step: expected above 0 to 1"),
        ({"learning_rate": ["fast"]}, "learning_rate: expected a number, got 'fast'"),
        ({"per_device_train_batch_size": [1.5]}, "expected a whole number, got 1.5"),
        ({"weight_decay": [0.1, 0.1]}, "weight_decay: expected different values"),
        ({"num_train_epochs": {"low": -1, "high": 2}}, "num_train_epochs: expected 0.001 or more"),
        ({"lr_scheduler_type": ["linaer"]}, "search_space: lr_scheduler_type: "),
        (
            {"head_learning_rate": [1e-3], "head_learning_rate_ratio": [10]},
            "expected head_learning_rate_ratio or head_learning_rate, got both",
        ),
    ],
)
def test_invalid_search_space_is_one_line(
    space: Any, message: str, command: list[str], tmp_path: Path
) -> None:
    config = config_file(command, tmp_path, search_space=space)
    assert message in refusal(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_invalid_searches_are_refused(searched: Any, tmp_path: Path) -> None:
    config, folder, _, _ = searched
    new = tmp_path / "out"
    assert 'Did you mean "f1_micro"?' in refusal(config, new, metric="f1_mikro")
    assert "has no direction" in refusal(config, new, metric="empty_predictions")
    message = refusal(config, new, "--loss=lsep", metric="f1_micro")
    assert "loss lsep has no threshold" in message
    assert "streaming: not supported" in refusal(config, new, "--streaming=true")
    assert "unknown option 'trails'" in refusal(config, new, "--trails=1")
    assert not new.exists()
    before = (folder / "journal.jsonl").read_bytes()
    assert "with other settings (seed: 42; seed: 7)" in refusal(config, folder, "--seed=7")
    with FileLock(folder / "lock"):
        assert "another search is running" in refusal(config, folder)
    assert (folder / "journal.jsonl").read_bytes().startswith(before)


def test_search_on_changed_data_is_refused(searched: Any, tmp_path: Path) -> None:
    config, folder, _, _ = searched
    values = yaml.safe_load(config.read_text())
    data = Path(values["train_file"])
    content = data.read_text()
    shutil.copytree(folder, tmp_path / "out")
    try:
        data.write_text(content.replace("sky", "sea"))
        other = plan_of(config, folder)
        changed = plan_of(config, tmp_path / "out")
        assert other.describe() == changed.describe()
        assert "on other data" in refusal(config, tmp_path / "out")
    finally:
        data.write_text(content)


def test_default_space_is_around_the_configuration(tmp_path: Path) -> None:
    arguments = ZLPRTrainingArguments(
        output_dir=str(tmp_path), learning_rate=1e-4, per_device_train_batch_size=1, bf16=False
    )
    space = SearchSpace.from_mapping(None, arguments)
    for seed in range(20):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        found = space.suggest(study.ask())
        assert 2.5e-5 <= found["learning_rate"] <= 4e-4
        assert 1 <= found["head_learning_rate"] / found["learning_rate"] <= 30
        assert found["per_device_train_batch_size"] in (1, 2)
        assert 0 <= found["warmup_steps"] <= 0.2
        assert 0 <= found["weight_decay"] <= 0.1
    assert space.options(space.start)["head_learning_rate"] == pytest.approx(1e-3)
    steps = ZLPRTrainingArguments(output_dir=str(tmp_path), warmup_steps=50, bf16=False)
    assert "warmup_steps" not in SearchSpace.from_mapping(None, steps).dimensions
    epochs = SearchSpace.from_mapping(
        {"num_train_epochs": {"low": 2, "high": 6, "step": 2}}, arguments
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    tried = [epochs.suggest(study.ask()) for _ in range(30)]
    assert {found["num_train_epochs"] for found in tried} == {2.0, 4.0, 6.0}
    assert all("head_learning_rate" not in found for found in tried)


@pytest.mark.slow
def test_trial_in_a_large_label_space_trains_its_own_head(searched: Any, tmp_path: Path) -> None:
    plan = plan_of(
        searched[0], tmp_path, "--large_label_space=true", "--num_train_epochs=1", metric="f1_micro"
    )
    (trial,) = tune(plan, 1, log=lambda text: None)
    report = run([str(tmp_path / "best.yaml")], tmp_path / "run")
    assert trial.value == report.validation["f1_micro"] > 0
