"""Push to a Hub on loopback with the real client, and use of the pushed model."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.local_hub import LocalHub
from tests.reports.builders import make_report
from zlpr_hf.data.seen_texts import SEEN_FILE
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.labels import LabelSpace
from zlpr_hf.models.loading import load_model
from zlpr_hf.reports.model_card import CardFacts, rename_in_card, write_model_card
from zlpr_hf.workflows.push import check_access, find_files

REPOSITORY = Path(__file__).parents[2]
WRITE, READ = "hf_mayWriteSecret", "hf_mayReadSecret"
TEXTS = [f"{colour} {other}" for colour in ("red", "green", "blue") for other in ("sky", "dog")]
PUSHED = {
    "README.md", "labels.svg", "config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json", "results.json", "train_config.yaml",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(
    encoder_dir: Path, colour_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Files of a trained model, and files beside it that must not be pushed."""
    folder = tmp_path_factory.mktemp("runs") / "colours"
    space = LabelSpace(("red", "green", "blue"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(encoder_dir)
    tokenizer.model_max_length = 16
    tokenizer.save_pretrained(folder)
    model: Any = load_model(str(encoder_dir), space).eval()
    torch.manual_seed(0)
    with torch.inference_mode():
        torch.nn.init.normal_(model.classifier.weight, std=30.0)
        logits = model(**tokenizer(TEXTS, return_tensors="pt")).logits
        model.classifier.bias -= logits.median(0).values + 0.01  # so that predictions differ
    model.save_pretrained(folder)
    rows = [(str(row["text"]),) for row in colour_rows]
    logits = Classifier.load(str(folder)).compute_logits(rows)
    targets = np.array([space.encode(row["labels"]) for row in colour_rows])
    report = make_report(space.names, logits, targets)
    report.save(folder / "results.json")
    facts = CardFacts(
        str(folder), base_model=str(encoder_dir), max_length=16, dataset="colours.csv"
    )
    write_model_card(folder, report, facts)
    (folder / "train_config.yaml").write_text(
        f"hub_model_id: me/colours\noutput_dir: {folder}\npush_to_hub: true\nseed: 7\n"
    )
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "logits.npz", "token",
                 "part-README.md", "results.json.part", "teacher_logits.npz"):  # fmt: skip
        (folder / name).write_bytes(b"not for others")
    shutil.copytree(encoder_dir, folder / "checkpoint-5")
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with LocalHub({WRITE: ("me", "write"), READ: ("me", "read")}) as hub:
        yield hub


@pytest.fixture(scope="module")
def environment(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For processes of their own, since the client reads it when it is imported."""
    return os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",  # a protocol of its own; without it large files go by LFS
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": WRITE,
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(REPOSITORY),
    }


def run_python(environment: dict[str, str], *arguments: str, give: Any = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], input=json.dumps(give), env=environment,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Secret" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def printed(environment: dict[str, str], folder: Path) -> str:
    """Output of ``zlpr push``."""
    return run_python(environment, "-m", "zlpr_hf.cli", "push", str(folder), "colours", "--private")


def test_push_sends_model_card_and_numbers_only(printed: str, hub: LocalHub, folder: Path) -> None:
    assert f"pushed to {hub.url}/me/colours\n" in printed
    repository = hub.repositories["me/colours"]
    assert repository.private
    assert repository.messages == ["initial commit", "Model, its numbers and its card"]
    files = repository.commits[repository.branches["main"]]
    assert set(files) == PUSHED | {".gitattributes"}
    assert hub.unknown == []
    for name in PUSHED - {"README.md", "results.json", "train_config.yaml"}:
        assert files[name].content == (folder / name).read_bytes()
    assert files["train_config.yaml"].content == b"output_dir: colours\nseed: 7\n"
    results = json.loads((folder / "results.json").read_text())
    assert json.loads(files["results.json"].content) == results | {"output_dir": "colours"}
    card = (folder / "README.md").read_text()
    assert 'name = "colours"' in card
    expected = card.replace('name = "colours"', 'name = "me/colours"')
    expected = expected.replace("zlpr predict colours", "zlpr predict me/colours")
    assert files["README.md"].content.decode() == expected
    for name, blob in files.items():
        assert str(folder.parent).encode() not in blob.content, name


READER = """
import contextlib, io, json, re, sys
from huggingface_hub import HfApi, ModelCard
from transformers import pipeline
from zlpr_hf.inference.classifier import Classifier

name, texts, command = json.loads(sys.stdin.read())
card = ModelCard.load(name)
card.validate()
classify = pipeline("text-classification", name, top_k=None, truncation=True)
ours = Classifier.load(name)

def said(code):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    return out.getvalue()

print(json.dumps({
    "files": HfApi().list_repo_files(name),
    "stock": [sorted(s["label"] for s in row if s["score"] > 0.5) for row in classify(texts)],
    "logits": ours.compute_logits([(text,) for text in texts]).tolist(),
    "limit": ours.tokenizer.model_max_length,
    "results": {r.metric_name: r.metric_value for r in card.data.eval_results},
    "card": [said(block) for block in re.findall(r"```python\\n(.*?)```", card.text, re.DOTALL)],
    "command": said(command),
}))
"""


def test_model_loaded_from_the_hub_decides_the_same(
    printed: str, hub: LocalHub, environment: dict[str, str], folder: Path
) -> None:
    command = shlex.split(printed.splitlines()[-1])
    assert command[1] == "-c"
    give = ["me/colours", TEXTS, command[2]]
    found = json.loads(run_python(environment, "-c", READER, give=give).splitlines()[-1])
    assert set(found["files"]) == PUSHED | {".gitattributes"}
    local = Classifier.load(str(folder))
    logits = local.compute_logits([(text,) for text in TEXTS])
    names = local.label_space.names
    decided = [
        sorted(name for name, on in zip(names, row > 0, strict=True) if on) for row in logits
    ]
    assert len({tuple(row) for row in decided}) > 1, "the model says the same of every text"
    assert found["stock"] == decided
    np.testing.assert_allclose(found["logits"], logits, rtol=0, atol=1e-4)
    assert found["limit"] == 16
    metrics = json.loads((folder / "results.json").read_text())["test"]["this model (logit > 0)"]
    assert found["results"] == {
        "F1 micro": metrics["f1_micro"],
        "F1 macro": metrics["f1_macro"],
        "F1 samples": metrics["f1_samples"],
        "exact match": metrics["subset_accuracy"],
    }
    answer = local.compute_logits([("type a text here",)])
    expected = {names[index] for index in np.flatnonzero(answer[0] > 0)}
    for said in (*found["card"], found["command"]):
        assert set(re.findall(r"'label': '(\w+)'", said)) == expected, said
    assert len(found["card"]) == 2
    assert hub.unknown == []


FAILURES = """
import contextlib, io, json, os, sys
import huggingface_hub.constants
from zlpr_hf.cli.main import main
from zlpr_hf.data.seen_texts import SEEN_FILE
from zlpr_hf.errors import InputError
from zlpr_hf.workflows.push import check_access, push_folder

folder, adapter, read = json.loads(sys.stdin.read())
found = {}

def attempt(title, action, *arguments, **options):
    try:
        found[title] = action(*arguments, **options)
    except InputError as error:
        found[title] = f"error: {error}"

attempt("access", check_access, "fresh")
attempt("bad name", check_access, "a b")
attempt("not mine", check_access, "google-bert/bert-base-uncased")
attempt("may only read", check_access, "me/fresh", token=read)
attempt("upload fails", push_folder, folder, "me/halfway")
attempt("commit fails", push_folder, folder, "me/halfway", revision="v1")
attempt("again", push_folder, folder, "me/halfway", revision="v1")
attempt("unchanged", push_folder, folder, "me/halfway", revision="v1", commit_message="again")
attempt("public", push_folder, folder, "me/halfway", private=True)
attempt("adapter", push_folder, adapter, "me/halfway", revision="v1")
os.environ["HF_TOKEN"] = "hf_wrongSecret"
with contextlib.redirect_stderr(io.StringIO()) as errors:
    found["status"] = main(["push", folder, "me/wrong", "--private"])
found["wrong token"] = errors.getvalue()
huggingface_hub.constants.ENDPOINT = "http://127.0.0.1:9"
attempt("no network", push_folder, folder, "me/halfway")
print(json.dumps(found))
"""


def test_failed_push_is_one_line_and_loses_nothing(
    hub: LocalHub, environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(folder, adapter)
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "me/encoder"}')
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.requests.clear()
    hub.stored.clear()
    hub.fail("PUT /large/", 507)
    hub.fail("POST /api/models/me/halfway/commit/v1", 500)
    give = [str(folder), str(adapter), READ]
    found = json.loads(run_python(environment, "-c", FAILURES, give=give).splitlines()[-1])
    again = f": zlpr push {folder} me/"
    assert found["access"] == "me/fresh"
    assert found["bad name"].startswith("error: a b: expected NAME or OWNER/NAME")
    assert "cannot write there (403)" in found["not mine"]
    assert "cannot write there (403)" in found["may only read"]
    assert "me/halfway: the Hub failed (507)" in found["upload fails"]
    assert found["upload fails"].endswith(f"{again}halfway")
    assert "me/halfway: the Hub failed (500)" in found["commit fails"]
    assert found["commit fails"].endswith(f"{again}halfway --revision v1")
    assert found["again"] == found["unchanged"] == f"{hub.url}/me/halfway"
    uploads = [line for line in hub.requests if line.startswith("PUT")]
    assert len(uploads) == 2, "one that failed, one that did not, and none for the push after that"
    assert "is public" in found["public"]
    assert found["adapter"] == f"{hub.url}/me/halfway"
    assert found["status"] == 2
    assert found["wrong token"].startswith("error: me/wrong: the Hub accepts no token (401);")
    assert found["wrong token"].endswith(f"{again}wrong --private\n")
    assert found["wrong token"].count("\n") == 1
    assert "no connection to the Hub" in found["no network"]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    repository = hub.repositories["me/halfway"]
    assert not repository.private
    assert repository.messages[0] == "initial commit"
    assert len(repository.messages) == 3
    assert set(repository.commits[repository.branches["main"]]) == {".gitattributes"}
    adapted = set(repository.commits[repository.branches["v1"]])
    assert adapted == PUSHED - {"model.safetensors"} | {
        ".gitattributes", "adapter_model.safetensors", "adapter_config.json",
    }  # fmt: skip
    assert hub.unknown == []


def test_renamed_card_keeps_the_edits_of_its_owner(folder: Path) -> None:
    card = (folder / "README.md").read_text() + '\n## Ethics\n\nname = "colours"\n'
    renamed = rename_in_card(card, "me/other", adapter=False, label_sets=False)
    assert renamed.count('name = "me/other"') == 2
    assert renamed.endswith('## Ethics\n\nname = "colours"\n')
    again = rename_in_card(renamed, str(folder), adapter=False, label_sets=False)
    assert again == card
    assert rename_in_card("# Mine\n", "me/other", adapter=False, label_sets=False) == "# Mine\n"


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (["config.json"], "expected a folder with a model, found no config.json"),
        (["model.safetensors"], "expected weights (model.safetensors"),
        (["tokenizer.json", "tokenizer_config.json"], "expected a tokenizer (tokenizer.json)"),
    ],
)
def test_folder_without_a_model_is_refused(
    removed: list[str], message: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    for name in removed:
        (tmp_path / "model" / name).unlink()
    with pytest.raises(InputError, match=re.escape(message)):
        find_files(tmp_path / "model")


def test_missing_shard_or_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    weights = model / "model.safetensors"
    weights.rename(model / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(InputError, match="lists model-00002-of-00002.safetensors"):
        find_files(model)
    (model / "model-00002-of-00002.safetensors").write_bytes(b"")
    names = {path.name for path in find_files(model)}
    assert set(parts.values()) <= names
    for base in (str(model), "package:some_package/model"):
        (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
        with pytest.raises(InputError, match="needs the local encoder"):
            find_files(model)


def test_no_message_contains_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(token: str) -> None:
        raise ValueError(f"illegal header b'Bearer {token}', {token}")

    monkeypatch.setattr("zlpr_hf.workflows.push.HfApi", refuse)
    with pytest.raises(InputError, match="illegal header") as refused:
        check_access("me/colours", token=WRITE)
    assert "Secret" not in str(refused.value)


def test_record_of_training_texts_stays_at_home(finished: tuple[Path, Any]) -> None:
    # With it, anybody could find out whether a text was in the training data.
    assert (finished[0] / SEEN_FILE).is_file()
    assert SEEN_FILE not in {path.name for path in find_files(finished[0])}


@pytest.mark.usefixtures("printed")
def test_configuration_on_the_hub_is_read_without_transformers(
    environment: dict[str, str], folder: Path
) -> None:
    code = """
import json, sys
from zlpr_hf.models.paths import read_config_file
print(json.dumps([read_config_file(name) for name in ("me/colours", "me/unknown", "a b")]))
assert not {"torch", "transformers"} & set(sys.modules)
"""
    found = json.loads(run_python(environment, "-c", code))
    assert found == [json.loads((folder / "config.json").read_text()), {}, {}]
