"""What may be overwritten, what is gone on from, and what a checkpoint must not carry."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from zlpr_hf import InputError, LabelSpace
from zlpr_hf.training.checkpoints import (
    check_same_task,
    clear_leftovers,
    clear_run,
    find_damage,
    find_resume_checkpoint,
    is_unfinished,
    remove_old_checkpoints,
    run_end,
)
from zlpr_hf.workflows.arguments import parse_arguments, save_config


def checkpoint(folder: Path, *, whole: bool = True, labels: str = "ab") -> Path:
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    config = {"id2label": {str(i): name for i, name in enumerate(labels)}, "num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trainer_state.json").write_text("{}" if whole else '{"st')
    return folder


def test_newest_whole_one(tmp_path: Path) -> None:
    for step in (9, 10):
        checkpoint(tmp_path / f"checkpoint-{step}")
    checkpoint(tmp_path / "checkpoint-11", whole=False)
    found = find_resume_checkpoint(tmp_path, "true", overwrite=False)
    assert found == tmp_path / "checkpoint-10"
    assert find_resume_checkpoint(tmp_path / "new", "true", overwrite=False) is None


@pytest.mark.parametrize("wanted", [None, "false", "true"])
def test_a_finished_model_is_not_replaced_unasked(tmp_path: Path, wanted: str | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"already holds a run \(config\.json\)"):
        find_resume_checkpoint(tmp_path, wanted, overwrite=False)
    assert find_resume_checkpoint(tmp_path, wanted, overwrite=True) is None


def test_a_checkpoint_from_elsewhere_does_not_open_a_taken_folder(tmp_path: Path) -> None:
    elsewhere = checkpoint(tmp_path / "a" / "checkpoint-1")
    assert find_resume_checkpoint(tmp_path / "b", str(elsewhere), overwrite=False) == elsewhere
    checkpoint(tmp_path / "b")
    with pytest.raises(InputError, match="already holds a run"):
        find_resume_checkpoint(tmp_path / "b", str(elsewhere), overwrite=False)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out is a file; expected a folder"):
        find_resume_checkpoint(tmp_path / "out", None, overwrite=False)


def test_clearing_leaves_what_no_run_writes(tmp_path: Path) -> None:
    checkpoint(tmp_path / "run")
    checkpoint(tmp_path / "run" / "checkpoint-3")
    (tmp_path / "run" / "results.json").write_text("{}")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "checkpoint-best").mkdir()
    clear_run(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint-best",
        "notes.txt",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
    ]


def test_another_task_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "checkpoint-1")
    check_same_task(folder, LabelSpace(("a", "b")), 3)
    with pytest.raises(InputError, match=r"other labels \(2\) than those of the data \(2: b, a\)"):
        check_same_task(folder, LabelSpace(("b", "a")), 3)
    with pytest.raises(InputError, match="its encoder has 3 layers, this one 2"):
        check_same_task(folder, LabelSpace(("a", "b")), 2)


def test_tokens_are_not_saved(tmp_path: Path) -> None:
    save_config(tmp_path / "c.yaml", parse_arguments(["--hub_token", "hf_secret", "--seed", "4"]))
    assert "secret" not in (tmp_path / "c.yaml").read_text()


def test_the_function_is_not_shadowed_by_a_module() -> None:
    code = (
        "import zlpr_hf.workflows.finetune; from zlpr_hf import finetune; assert callable(finetune)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json"]
)
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over_and_removed(
    name: str, how: str, tmp_path: Path
) -> None:
    whole, damaged = (checkpoint(tmp_path / f"checkpoint-{step}") for step in (5, 10))
    path = damaged / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    damage = find_damage(damaged)
    assert damage == f"{name} is {'damaged' if how == 'cut' else 'missing'}"
    assert find_resume_checkpoint(tmp_path, "true", overwrite=False) == whole
    with pytest.raises(InputError, match=f"not a whole checkpoint, {damage}"):
        find_resume_checkpoint(tmp_path, str(damaged), overwrite=False)
    clear_leftovers(tmp_path)
    # One without a state of the optimizer may have been saved so.
    kept = find_damage(damaged, only_model=True) is None if damaged.exists() else False
    assert kept == name.startswith(("optimizer", "scheduler", "rng"))
    assert whole.exists()


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [(2, None, [15, 20]), (2, 5, [5, 20]), (1, None, [20]), (None, None, [5, 10, 15, 20])],
)
def test_the_oldest_checkpoints_go_at_once(
    limit: int | None, best: int | None, left: list[int], tmp_path: Path
) -> None:
    for step in (5, 10, 15, 20):
        checkpoint(tmp_path / f"checkpoint-{step}")
    name = None if best is None else str(tmp_path / f"checkpoint-{best}")
    remove_old_checkpoints(tmp_path, limit, name)
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == sorted(f"checkpoint-{step}" for step in left)


def test_a_checkpoint_that_was_being_removed_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (5, 10):
        checkpoint(tmp_path / f"checkpoint-{step}")
    with monkeypatch.context() as patch:
        patch.setattr("zlpr_hf.training.checkpoints.shutil.rmtree", lambda *_, **__: None)
        remove_old_checkpoints(tmp_path, 1, None)
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoint-10", "part-old"}
    clear_leftovers(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-10"]


def test_checkpoints_of_a_run_that_was_being_removed_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (5, 10):
        checkpoint(tmp_path / f"checkpoint-{step}")

    def killed(folder: Path, **_: bool) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zlpr_hf.training.checkpoints.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clear_run(tmp_path)
    assert find_resume_checkpoint(tmp_path, "true", overwrite=False) is None
    assert is_unfinished(tmp_path)
    clear_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_a_run_comes_at_once_or_not_at_all(tmp_path: Path) -> None:
    for name in ("config.json", "results.json"):
        (tmp_path / name).write_text("before")
    with suppress(ZeroDivisionError), run_end(tmp_path, is_main=True) as part:
        part.mkdir()
        (part / "config.json").write_text("after")
        _ = 1 / 0
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "config.json": "before", "results.json": "before",
    }  # fmt: skip
    with run_end(tmp_path, is_main=True) as part:
        part.mkdir()
        for name in ("config.json", "results.json", "model.safetensors"):
            (part / name).write_text("after")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "config.json", "model.safetensors", "results.json",
    ]  # fmt: skip
    assert all(each.read_text() == "after" for each in tmp_path.iterdir())
