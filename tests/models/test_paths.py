"""Without a way to the Hub, one line says so, at once."""

import time

import pytest
from huggingface_hub import constants

from tests.local_hub import LocalHub
from zlpr_hf import InputError, load_tokenizer
from zlpr_hf.models.paths import check_hub


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: nobody listens on port 9."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.usefixtures("nowhere")
def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"tries again in {seconds} s"))
    with pytest.raises(InputError) as refusal:
        load_tokenizer("nobody/nothing")
    message = str(refusal.value)
    assert message.startswith("model 'nobody/nothing' is no folder here, was not fetched before, ")
    assert "no connection to the Hub (" in message
    assert "expected a folder, or package:MODULE/FOLDER" in message


def test_offline_on_purpose() -> None:
    with pytest.raises(InputError, match="HF_HUB_OFFLINE keeps it from being fetched"):
        load_tokenizer("nobody/nothing")


def test_any_answer_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHub({}) as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        check_hub("nobody/nothing")


@pytest.mark.usefixtures("nowhere")
def test_a_path_is_no_name_of_the_hub() -> None:
    with pytest.raises(InputError, match="out/run/checkpoint-3: no such folder"):
        load_tokenizer("out/run/checkpoint-3")
