"""Names of folders that do not hold a model, and the models that are there."""

from pathlib import Path

import pytest

from zlpr_hf.cli.main import main
from zlpr_hf.errors import InputError
from zlpr_hf.models.local_models import check_local_model


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("out/reviews", "out/quickstart"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "out" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("name", ["out/nope", "./nope", "/nowhere/x", "a/b/c", "~/nope", "reviews"])
def test_missing_folders_name_the_models_that_are_there(name: str) -> None:
    with pytest.raises(InputError) as error:
        check_local_model(name)
    assert name in str(error.value)
    assert "out/reviews" in str(error.value)
    assert "out/quickstart" in str(error.value)
    assert "out/empty" not in str(error.value)


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("name", ["out/reviews", "owner/name", "bert-base", "package:a/b"])
def test_folders_and_ids_on_the_hub_are_accepted(name: str) -> None:
    check_local_model(name)


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "demo", "reproduce", "push"])
def test_commands_name_the_models(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["owner/name"] if command == "push" else []
    for words in ([], ["out/nope", *more]):
        assert main([command, *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "out/reviews" in line


def test_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"nope: no such folder$"):
        check_local_model("./nope")
