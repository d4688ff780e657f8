"""A bias for heads without one: saved, restored, exported, and never lost without an error."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tests.families import save_family
from tests.runs import run
from zlpr_hf import (
    Classifier,
    InputError,
    LabelSpace,
    Thresholds,
    ZLPRTrainer,
    load_model,
    load_pipeline,
    load_tokenizer,
    push_folder,
    register_pipeline,
)
from zlpr_hf.inference.pipeline import TASK
from zlpr_hf.models.features import compute_features
from zlpr_hf.models.head_init import init_head_from_label_names
from zlpr_hf.workflows.export import export_onnx
from zlpr_hf.zlpr_config import ZLPRConfig

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

FAMILIES = ["gpt2", "llama", "qwen3"]
LABELS = LabelSpace(("red", "green", "blue"))
OFFSETS = (0.3, -0.2, 0.05)
TEXTS = ["red", "the sea is big", "a small green dog runs and a blue fish sleeps", ""]


def build(folder: Path, family: str = "llama") -> Classifier:
    torch.manual_seed(0)
    encoder = str(save_family(family, folder))
    return Classifier(load_model(encoder, LABELS), load_tokenizer(encoder))


@pytest.fixture(scope="module", params=FAMILIES)
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """A decoder whose offsets were saved, and the logits that it must have."""
    folder = tmp_path_factory.mktemp(request.param)
    classifier = build(folder / "encoder", request.param)
    expected = classifier.compute_logits(TEXTS) - np.asarray(OFFSETS, np.float32)
    classifier.save(folder / "model", Thresholds(OFFSETS))
    assert ZLPRConfig.read(classifier.model.config).head_bias is None  # the original stays
    return folder / "model", expected


def check(classifier: Classifier, expected: Any) -> None:
    found = classifier.compute_logits(TEXTS)
    np.testing.assert_allclose(found[:-1], expected[:-1], atol=1e-5)  # the last text is empty


def test_offsets_are_saved_and_restored(saved: tuple[Path, Any]) -> None:
    folder, expected = saved
    check(Classifier.load(folder), expected)
    assert load_pipeline(folder)(TEXTS[1], threshold=0)
    register_pipeline()
    registered: Any = pipeline(TASK, model=str(folder))  # type: ignore[call-overload]
    check(registered.classifier, expected)


def test_continued_training_keeps_the_bias(saved: tuple[Path, Any]) -> None:
    folder, expected = saved
    check(Classifier(load_model(str(folder), LABELS), load_tokenizer(str(folder))), expected)
    changed = load_model(str(folder), ["blue", "red", "new"])
    found = Classifier(changed, load_tokenizer(str(folder))).compute_logits(TEXTS)
    np.testing.assert_allclose(found[:-1, :2], expected[:-1][:, [2, 0]], atol=1e-5)
    other: Any = load_model(str(folder), ["one", "two", "three"])
    assert other.score.bias is None


def test_sharded_weights_are_read(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, expected = saved
    classifier = Classifier.load(folder)
    classifier.model.save_pretrained(tmp_path, max_shard_size="20KB")  # type: ignore[union-attr]
    classifier.tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    check(Classifier.load(tmp_path), expected)


def test_stock_classes_drop_the_bias_with_a_warning_and_are_refused_here(
    saved: tuple[Path, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = saved
    logging.getLogger("transformers").propagate = True
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )
    logging.getLogger("transformers").propagate = False
    assert loading["unexpected_keys"] == {"score.bias"}
    assert "score.bias" in caplog.text
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with pytest.raises(InputError, match=r"score\.bias"):
        Classifier(model, tokenizer)
    with pytest.raises(InputError, match=r"score\.bias"):
        ZLPRTrainer(model)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"score\.bias"):
        Classifier.load(tmp_path)


def test_export_holds_the_bias(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    classifier, folder = build(tmp_path / "encoder"), tmp_path / "model"
    expected = classifier.compute_logits(TEXTS) - np.asarray(OFFSETS, np.float32)
    classifier.save(folder, Thresholds(OFFSETS))
    rows = [(text,) for text in TEXTS[:-1]]
    export_onnx(Classifier.load(folder), rows, tmp_path / "onnx", source=str(folder))
    exported = Classifier.load(tmp_path / "onnx", backend="onnxruntime")
    check(exported, expected)
    assert ZLPRConfig.read(exported.model.config).head_bias is None


def test_stored_offsets_of_a_head_without_a_bias_are_folded(tmp_path: Path) -> None:
    classifier = build(tmp_path / "encoder")
    expected = classifier.compute_logits(TEXTS) - np.asarray(OFFSETS, np.float32)
    ZLPRConfig.update(classifier.model.config, thresholds=Thresholds(OFFSETS).to_config())
    check(Classifier(classifier.model, classifier.tokenizer), expected)


def test_temperature_needs_no_bias(tmp_path: Path) -> None:
    classifier = build(tmp_path / "encoder")
    classifier.save(tmp_path / "cold", Thresholds(), temperature=2.0)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cold").eval()
    found = Classifier(stock, classifier.tokenizer)
    check(found, classifier.compute_logits(TEXTS) / 2)


@pytest.mark.parametrize(
    "options", [["--tune_thresholds=per_label"], ["--loss=lsep"], ["--head_init=label_names"]]
)
def test_run_says_that_stock_classes_decide_differently(
    options: list[str], command: list[str], tmp_path: Path
) -> None:
    decoder = save_family("qwen3", tmp_path / "decoder")
    more = [f"--model_name_or_path={decoder}", "--pooling=first", "--num_train_epochs=1"]
    report = run(command, tmp_path / "out", *more, "--save_logits=true", *options)
    assert any("score.bias" in line for line in report.warnings)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "score.bias" in card
    assert "from transformers import" not in card
    texts = [("red sky",), ("the blue sea",)]
    classifier = Classifier.load(tmp_path / "out")
    head: Any = classifier.model
    assert head.score.bias.any()
    assert np.isfinite(classifier.compute_logits(texts)).all()


def test_default_run_decides_alike_in_the_stock_class(command: list[str], tmp_path: Path) -> None:
    decoder = save_family("qwen3", tmp_path / "decoder")
    more = [f"--model_name_or_path={decoder}", "--pooling=first", "--num_train_epochs=1"]
    report = run(command, tmp_path / "out", *more)
    assert not any("score.bias" in line for line in report.warnings)
    assert "from transformers import" in (tmp_path / "out" / "README.md").read_text()
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    found = Classifier(stock, AutoTokenizer.from_pretrained(tmp_path / "out"))
    check(found, Classifier.load(tmp_path / "out").compute_logits(TEXTS))


def test_adapter_holds_the_bias(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    decoder = save_family("llama", tmp_path / "decoder")
    more = [
        f"--model_name_or_path={decoder}", "--pooling=first", "--num_train_epochs=1",
        "--use_peft=true", "--tune_thresholds=per_label", "--save_logits=true",
    ]  # fmt: skip
    logits = []
    for form in ("adapter", "merged"):
        run(command, tmp_path / form, *more, f"--peft_save={form}")
        classifier: Any = Classifier.load(tmp_path / form)
        assert classifier.model.score.bias.any()
        logits.append(classifier.compute_logits(TEXTS))
    np.testing.assert_allclose(*logits, atol=1e-5)


def test_large_label_space_adds_no_bias(command: list[str], tmp_path: Path) -> None:
    decoder = save_family("llama", tmp_path / "decoder")
    more = [f"--model_name_or_path={decoder}", "--pooling=first", "--num_train_epochs=1"]
    run(command, tmp_path / "out", *more, "--large_label_space=true")
    assert ZLPRConfig.read(Classifier.load(tmp_path / "out").model.config).head_bias is None


def test_head_from_label_names_has_a_bias(tmp_path: Path) -> None:
    classifier = build(tmp_path / "encoder")
    model: Any = classifier.model
    features = compute_features(model, classifier.tokenizer, [(text,) for text in TEXTS[:3]])
    np.testing.assert_allclose(
        features @ model.score.weight.detach().numpy().T,
        classifier.compute_logits(TEXTS[:3]),
        atol=1e-5,
    )
    init_head_from_label_names(model, classifier.tokenizer, LABELS, TEXTS[:3])
    assert model.score.bias is not None


def test_push_says_so(
    saved: tuple[Path, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlpr_hf.workflows.push._open_repository", lambda *given: 1 / 0)
    with pytest.raises(InputError):
        push_folder(saved[0], "me/decoder")
    assert "score.bias" in caplog.text
