"""Fixtures that several test files use."""

import json
import signal
from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from tests.builders import make_colour_rows, make_tokenizer, save_encoder, tiny_config
from tests.device import IS_THERE
from tests.runs import FAST, run
from zlpr_hf import LabelSpace, Report

torch.set_num_threads(1)  # tiny models: a second thread only waits for the first
# A shell that runs tests in the background has interrupts ignored, and processes started from here
# would inherit that: those that are to be interrupted would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skipif(not IS_THERE, reason="requires a CUDA GPU"))
            item.add_marker(pytest.mark.filterwarnings("default"))  # of compilers and drivers


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture
def tiny_model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(tiny_config(num_labels=3))


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    save_encoder(folder)
    return folder


@pytest.fixture
def colours() -> LabelSpace:
    return LabelSpace(("red", "green", "blue"))


@pytest.fixture(scope="session")
def colour_rows() -> list[dict[str, object]]:
    return make_colour_rows()


@pytest.fixture(scope="session")
def rows_file(
    colour_rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The rows as JSON lines. Tests must not change it."""
    path = tmp_path_factory.mktemp("data") / "colours.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in colour_rows))
    return path


@pytest.fixture(scope="session")
def command(encoder_dir: Path, rows_file: Path) -> list[str]:
    """Options of a run that takes seconds."""
    return [f"--model_name_or_path={encoder_dir}", f"--train_file={rows_file}", *FAST]


@pytest.fixture(scope="session")
def finished(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A finished run and its report. Tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(command, folder)
