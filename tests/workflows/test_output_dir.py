"""The folder of a run: overwriting, resuming, clearing, and final files that appear together."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.training.builders import save_checkpoint
from zlpr_hf import InputError
from zlpr_hf.training.checkpoints import find_damage, remove_old_checkpoints
from zlpr_hf.workflows.arguments import parse_arguments, render_config
from zlpr_hf.workflows.output_dir import (
    clear_leftovers,
    clear_run,
    find_resume_checkpoint,
    is_unfinished,
    run_end,
)


def test_newest_complete_checkpoint_is_found(tmp_path: Path) -> None:
    for step in (9, 10):
        save_checkpoint(tmp_path / f"checkpoint-{step}")
    save_checkpoint(tmp_path / "checkpoint-11", whole=False)
    found = find_resume_checkpoint(tmp_path, "true", overwrite=False)
    assert found == tmp_path / "checkpoint-10"
    assert find_resume_checkpoint(tmp_path / "new", "true", overwrite=False) is None


@pytest.mark.parametrize("wanted", [None, "false", "true"])
def test_finished_model_is_not_replaced_by_default(tmp_path: Path, wanted: str | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"already holds a run \(config\.json\)"):
        find_resume_checkpoint(tmp_path, wanted, overwrite=False)
    assert find_resume_checkpoint(tmp_path, wanted, overwrite=True) is None


def test_foreign_checkpoint_does_not_replace_a_run(tmp_path: Path) -> None:
    elsewhere = save_checkpoint(tmp_path / "a" / "checkpoint-1")
    assert find_resume_checkpoint(tmp_path / "b", str(elsewhere), overwrite=False) == elsewhere
    save_checkpoint(tmp_path / "b")
    with pytest.raises(InputError, match="already holds a run"):
        find_resume_checkpoint(tmp_path / "b", str(elsewhere), overwrite=False)


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out is a file"):
        find_resume_checkpoint(tmp_path / "out", None, overwrite=False)


def test_clearing_keeps_files_that_no_run_writes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run")
    save_checkpoint(tmp_path / "run" / "checkpoint-3")
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


def test_tokens_are_not_saved(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        render_config(parse_arguments(["--hub_token", "hf_secret", "--seed", "4"]))
    )
    assert "secret" not in (tmp_path / "c.yaml").read_text()


def test_finetune_function_is_not_shadowed_by_its_module() -> None:
    code = (
        "import zlpr_hf.workflows.finetune; from zlpr_hf import finetune; assert callable(finetune)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json"]
)
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_checkpoint_is_skipped_and_removed(name: str, how: str, tmp_path: Path) -> None:
    whole, damaged = (save_checkpoint(tmp_path / f"checkpoint-{step}") for step in (5, 10))
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
    # A checkpoint without the optimizer's state may have been saved without it.
    kept = find_damage(damaged, only_model=True) is None if damaged.exists() else False
    assert kept == name.startswith(("optimizer", "scheduler", "rng"))
    assert whole.exists()


def test_half_removed_checkpoint_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (5, 10):
        save_checkpoint(tmp_path / f"checkpoint-{step}")
    with monkeypatch.context() as patch:
        patch.setattr("zlpr_hf.training.checkpoints.shutil.rmtree", lambda *_, **__: None)
        remove_old_checkpoints(tmp_path, 1, None)
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoint-10", "part-old"}
    clear_leftovers(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-10"]


def test_checkpoints_of_a_half_removed_run_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (5, 10):
        save_checkpoint(tmp_path / f"checkpoint-{step}")

    def killed(folder: Path, **_: bool) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zlpr_hf.workflows.output_dir.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clear_run(tmp_path)
    assert find_resume_checkpoint(tmp_path, "true", overwrite=False) is None
    assert is_unfinished(tmp_path)
    clear_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_final_files_of_a_run_appear_together_or_not_at_all(tmp_path: Path) -> None:
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
