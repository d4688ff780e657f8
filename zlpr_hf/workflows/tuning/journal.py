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
    """Open the journal in a folder for this process alone, and repair it after a kill."""
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

    A journal of other settings (see :meth:`Plan.describe`) or of other rows is refused.
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
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def record_failure(study: optuna.Study) -> None:
    """Record the last trial if it failed by itself; other failed trials were interrupted."""
    last = study.trials[-1]
    if last.state == TrialState.FAIL:
        failed = study.user_attrs.get("failed", [])
        study.set_user_attr("failed", sorted({*failed, last.number}))


def find_finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that completed, were pruned or failed, without interrupted ones."""
    failed = study.user_attrs.get("failed", [])
    whole = (TrialState.COMPLETE, TrialState.PRUNED)
    return [trial for trial in study.trials if trial.state in whole or trial.number in failed]
