"""Whole and damaged checkpoints, the order of their removal, and their saving by the trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from tests.training.builders import arguments, model, rows, save_checkpoint
from zlpr_hf import InputError, LabelSpace, ZLPRTrainer
from zlpr_hf.training.checkpoints import (
    UNFINISHED_FILE,
    check_same_task,
    find_checkpoints,
    find_damage,
    remove_old_checkpoints,
)


def test_another_task_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint-1")
    check_same_task(folder, LabelSpace(("a", "b")), 3)
    with pytest.raises(InputError, match=r"other labels \(2\) .* \(2: b, a\)"):
        check_same_task(folder, LabelSpace(("b", "a")), 3)
    with pytest.raises(InputError, match="has 3 layers, this one 2"):
        check_same_task(folder, LabelSpace(("a", "b")), 2)


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [(2, None, [15, 20]), (2, 5, [5, 20]), (1, None, [20]), (None, None, [5, 10, 15, 20])],
)
def test_the_oldest_checkpoints_are_removed(
    limit: int | None, best: int | None, left: list[int], tmp_path: Path
) -> None:
    for step in (5, 10, 15, 20):
        save_checkpoint(tmp_path / f"checkpoint-{step}")
    name = None if best is None else str(tmp_path / f"checkpoint-{best}")
    remove_old_checkpoints(tmp_path, limit, name)
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == sorted(f"checkpoint-{step}" for step in left)


def checkpointing(folder: Path, **changes: Any) -> ZLPRTrainer:
    settings = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    return ZLPRTrainer(
        model=model(), args=arguments(folder, **(settings | changes)), train_dataset=rows()
    )


def test_saved_checkpoints_are_whole_and_hold_no_arguments(tmp_path: Path) -> None:
    trainer = checkpointing(tmp_path, hub_token="hf_secret")
    trainer.train()
    found = find_checkpoints(tmp_path)
    assert [path.name for path in found] == ["checkpoint-3", "checkpoint-4"]
    assert [find_damage(path) for path in found] == [None, None]
    assert not list(tmp_path.rglob("training_args.bin"))
    assert trainer.args.save_total_limit == 2


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_checkpoint_that_fails_leaves_the_older_ones(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error the new one is gone; after a kill it is there and known to be unfinished."""
    save, limits = Trainer._save_rng_state, []

    def fail_at_third(self: Trainer, folder: str) -> None:
        save(self, folder)
        limits.append(self.args.save_total_limit)
        if self.state.global_step == 3:
            raise error

    monkeypatch.setattr(Trainer, "_save_rng_state", fail_at_third)
    trainer = checkpointing(tmp_path, save_total_limit=1)
    with pytest.raises(error):
        trainer.train()
    assert trainer.args.save_total_limit == 1
    assert find_damage(tmp_path / "checkpoint-2") is None
    assert (tmp_path / "checkpoint-3").exists() == (error is KeyboardInterrupt)
    assert find_damage(tmp_path / "checkpoint-3") is not None


def test_an_older_checkpoint_of_the_same_step_leaves_nothing_behind(tmp_path: Path) -> None:
    old = save_checkpoint(tmp_path / "checkpoint-1")
    (old / "notes.txt").touch()
    checkpointing(tmp_path, save_total_limit=None).train()
    assert not (old / "notes.txt").exists()
    assert find_damage(old) is None


def test_a_checkpoint_with_its_mark_is_unfinished(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint-1")
    assert find_damage(folder) is None
    (folder / UNFINISHED_FILE).touch()
    assert find_damage(folder) is not None
    assert find_damage(folder, only_model=True) is not None


def test_resuming_skips_an_unfinished_checkpoint(tmp_path: Path) -> None:
    trainer = checkpointing(tmp_path, save_total_limit=None)
    trainer.train()
    whole, last = find_checkpoints(tmp_path)[-2:]
    (last / UNFINISHED_FILE).touch()
    (last / "trainer_state.json").unlink()
    again = checkpointing(tmp_path, save_total_limit=None)
    again.train(resume_from_checkpoint=True)
    assert find_damage(last) is None
    assert again.state.global_step == trainer.state.global_step
    assert whole.is_dir()


def test_models_are_saved_without_arguments(tmp_path: Path) -> None:
    trainer = checkpointing(tmp_path)
    trainer.save_model(str(tmp_path / "model"))
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert "training_args.bin" not in names
    assert torch.equal(
        model().from_pretrained(tmp_path / "model").classifier.weight,
        trainer.model.classifier.weight,
    )
