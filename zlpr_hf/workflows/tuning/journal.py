"""Journal: what a search has found so far, on the disk."""

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
    """The journal of a search, whole even after a kill, and of this process alone while it is open.

    Args:
        folder: Of the search; made where it is not there.

    Yields:
        The storage for Optuna.

    Raises:
        InputError: If another process has it open, or the file is something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL_FILE
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(f"{folder}: another search is running there now") from error
    try:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)  # Optuna's, of a killed process
        if path.exists():
            # What a kill cut off in the middle of a line would be glued to the next one.
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not the journal of a search: {error}") from error
        yield storage
    finally:
        lock.release()


def open_study(
    storage: JournalStorage, plan: Plan, settings: str, data: dict[str, str]
) -> optuna.Study:
    """The trials so far; those that a kill has cut are closed, to be run again.

    Args:
        storage: From :func:`open_journal`.
        plan: What is searched.
        settings: Of all trials, from :meth:`Plan.describe`.
        data: Fingerprints of what they train on and are judged by.

    Returns:
        The study.

    Raises:
        InputError: If the journal is of another search.
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
    remember_cut(study, {trial.number for trial in running})
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def remember_cut(study: optuna.Study, numbers: set[int]) -> None:
    """Note trials that were ended from outside, so that they are run again.

    Args:
        study: Of the search.
        numbers: Of the trials.
    """
    if numbers:
        study.set_user_attr("cut", sorted({*study.user_attrs.get("cut", []), *numbers}))


def find_failed(study: optuna.Study) -> set[int]:
    """Numbers of the trials that failed, for whatever reason."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return {trial.number for trial in failed}


def find_ended(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to an end of their own: whole, cut short by the pruner, or failed."""
    cut = study.user_attrs.get("cut", [])
    return [
        trial for trial in study.trials if trial.state.is_finished() and trial.number not in cut
    ]
