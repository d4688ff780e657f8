"""Without a connection to the Hub, one line says so at once."""

import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.local_hub import LocalHub
from zlpr_hf import InputError, load_tokenizer
from zlpr_hf.models.paths import check_hub, resolve_model_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: nothing listens on port 9."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.usefixtures("no_network")
def test_no_connection_is_reported_without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"tries again in {seconds} s"))
    with pytest.raises(InputError) as refusal:
        load_tokenizer("nobody/nothing")
    message = str(refusal.value)
    assert message.startswith("model 'nobody/nothing': not a local folder, not in the Hub cache")
    assert "no connection to the Hub (" in message
    assert "package:MODULE/FOLDER" in message


def test_offline_mode_is_named_in_the_error() -> None:
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        load_tokenizer("nobody/nothing")


def test_any_answer_of_the_hub_counts_as_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHub({}) as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        check_hub("nobody/nothing")


@pytest.mark.usefixtures("no_network")
def test_a_path_is_never_looked_up_on_the_hub() -> None:
    with pytest.raises(InputError, match="out/run/checkpoint-3: no such folder"):
        load_tokenizer("out/run/checkpoint-3")


def test_missing_folder_beside_models_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other names with one slash may be on the Hub."""
    monkeypatch.chdir(tmp_path)
    assert resolve_model_path("out/reviews") == "out/reviews"
    for name in ("reviews", "quickstart"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "config.json").touch()
    assert resolve_model_path("out/reviews") == "out/reviews"
    with pytest.raises(InputError, match=r'out/quickstart, out/reviews.*"out/reviews"'):
        resolve_model_path("out/review")
