"""The short help of zlpr train: one screen, and the truth about options and defaults."""

import argparse
import dataclasses
from pathlib import Path

import pytest

from zlpr_hf import InputError
from zlpr_hf.cli.train_options import LOSS_NAMES, check_early, short_parser
from zlpr_hf.losses.registry import LOSSES
from zlpr_hf.workflows.arguments import ARGUMENTS
from zlpr_hf.workflows.command_defaults import AUTO_OPTIONS, COMMAND_DEFAULTS
from zlpr_hf.workflows.option_fields import default_of

FIELDS = {spec.name: spec for kind in ARGUMENTS for spec in dataclasses.fields(kind)}
OPTIONS = [action for action in short_parser()._actions if action.dest != "help"]


def test_short_help_fits_on_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = short_parser().format_help().splitlines()
    assert len(lines) < 24  # the prompt follows
    assert max(map(len, lines)) <= 80
    for action in OPTIONS:
        assert sum(f"  {name} " in line for line in lines for name in action.option_strings) == 1


@pytest.mark.parametrize("action", OPTIONS, ids=lambda action: action.dest)
def test_short_list_has_the_options_and_defaults_of_a_run(action: argparse.Action) -> None:
    name, default = action.dest, action.default
    if name in AUTO_OPTIONS:
        assert default == "auto"
        assert name in FIELDS
    elif name in COMMAND_DEFAULTS:
        assert default == COMMAND_DEFAULTS[name]
    elif default is not None:
        assert default == default_of(FIELDS[name])
    else:
        assert FIELDS[name].default in (None, False)


def test_losses_are_those_of_the_registry() -> None:
    assert list(LOSS_NAMES) == list(LOSSES)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "many"], "num_train_epochs.*many"),
        (["--max_length=0"], "max_length.*0"),
        (["--loss", "bse"], "loss.*bse"),
        (["c.yaml"], r"^c\.yaml: .*seed.*x"),
    ],
)
def test_wrong_values_are_refused_early(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("seed: x\n")
    with pytest.raises(InputError, match=message):
        check_early(argv)


def test_folder_that_cannot_hold_the_run_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").touch()
    for name in ("file", "file/run", "run"):
        with pytest.raises(InputError):
            check_early([f"--output_dir={tmp_path / name}"])
    check_early([f"--output_dir={tmp_path / 'run'}", "--overwrite_output_dir"])
    check_early([f"--output_dir={tmp_path / 'run'}", "--resume_from_checkpoint=true"])
    check_early([f"--output_dir={tmp_path / 'new'}"])


def test_values_and_options_of_the_full_list_pass() -> None:
    check_early(
        ["--lr=auto", "--label_columns", "a", "b", "--warmup_steps", "10", "--no_baselines"]
    )
