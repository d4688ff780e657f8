"""The journal of a search: its trials on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from zlpr_hf.errors import InputError
from zlpr_hf.workflows.tuning.plan import Plan

JOURNAL_FILE, LOCK_FILE = "journal.jsonl", "lock"
STUDY = "zlpr tune"


@contextmanager
def open_journal(folder: Path) -> Iterator[JournalStorage]:
    """Open the journal in a folder for this process alone, and repair it after a kill.

    Raises:
        InputError: If another process has it open, or the file is not a journal.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL_FILE
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(f"{folder}: another search is running in this folder") from error
    try:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)  # left by a killed process
        if path.exists():
            # Remove a line that a kill cut off; the next one would be appended to it.
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a journal of Optuna: {error}") from error
        yield storage
    finally:
        lock.release()


def open_study(
    storage: JournalStorage, plan: Plan, settings: str, data: dict[str, str]
) -> optuna.Study:
    """Return the study with its trials so far; interrupted ones are closed, to be repeated.

    Args:
        storage: The open journal.
        plan: The search.
        settings: Settings of all trials, from :meth:`Plan.describe`.
        data: Fingerprints of the training and validation rows.

    Raises:
        InputError: If the journal belongs to another search.
    """
    study = optuna.create_study(
        storage=storage, study_name=STUDY, direction=plan.direction, load_if_exists=True
    )
    before = study.user_attrs
    where = f"{plan.output_dir} holds a search"
    if before.get("settings", settings) != settings:
        lines = set(before["settings"].splitlines()) ^ set(settings.splitlines())
        changed = "; ".join(sorted(lines)[:4])
        raise InputError(f"{where} with other settings ({changed}); choose another --output_dir")
    if before.get("data", data) != data:
        raise InputError(f"{where} on other data; choose another --output_dir")
    study.set_user_attr("settings", settings)
    study.set_user_attr("data", data)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    mark_interrupted(study, {trial.number for trial in running})
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def mark_interrupted(study: optuna.Study, numbers: set[int]) -> None:
    """Mark trials as interrupted, so that they are repeated."""
    if numbers:
        study.set_user_attr("cut", sorted({*study.user_attrs.get("cut", []), *numbers}))


def find_failed(study: optuna.Study) -> set[int]:
    """Return the numbers of the failed trials."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return {trial.number for trial in failed}


def find_finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that completed, were pruned or failed, without interrupted ones."""
    cut = study.user_attrs.get("cut", [])
    return [
        trial for trial in study.trials if trial.state.is_finished() and trial.number not in cut
    ]
