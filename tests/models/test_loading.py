"""Loading: labels in the configuration, mean pooling in a stock class, a head from names."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from tests.builders import tiny_config
from zlpr_hf import InputError, LabelSets, LabelSpace, Thresholds, load_model, load_tokenizer
from zlpr_hf.models.features import compute_features
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.head_init import init_head_from_label_names
from zlpr_hf.models.new_weights import has_new_head, without_load_report
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.models.pooling import SENTENCE_POOLING, find_pooling

SMALL = {
    "vocab_size": 22,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}


def test_config_holds_labels_loss_and_pooling(encoder_dir: Path, colours: LabelSpace) -> None:
    model = load_model(str(encoder_dir), colours, loss="bce")
    assert model.config.problem_type == "multi_label_classification"
    assert LabelSpace.from_config(model.config) == colours
    assert model.config.label2id == colours.label2id
    assert model.config.zlpr == {"loss": "bce", "pooling": "first"}
    assert classification_head(model).out_features == 3


def test_labels_are_names_or_their_number(encoder_dir: Path, colours: LabelSpace) -> None:
    for names in (list(colours.names), colours.names, colours):
        assert LabelSpace.from_config(load_model(str(encoder_dir), names).config) == colours
    numbered = load_model(str(encoder_dir), num_labels=2).config.id2label
    assert numbered == {0: "LABEL_0", 1: "LABEL_1"}
    for wrong in ({}, {"label_space": colours, "num_labels": 3}):
        with pytest.raises(InputError, match="label names or num_labels"):
            load_model(str(encoder_dir), **wrong)
    with pytest.raises(InputError, match="num_labels: expected 2 or more"):
        load_model(str(encoder_dir), num_labels=1)
    with pytest.raises(InputError, match="label names"):
        load_model(str(encoder_dir), "red")


def test_dropout_sets_all_rates(encoder_dir: Path, colours: LabelSpace) -> None:
    def rates(dropout: float | None) -> set[float]:
        model = load_model(str(encoder_dir), colours, dropout=dropout)
        found = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
        return found | {model.config.attention_probs_dropout_prob}

    assert rates(None) == {0.1}
    assert rates(0.0) == {0.0}
    assert rates(0.3) == {0.3}


def test_half_precision_checkpoint_loads_in_float32(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    load_model(str(encoder_dir), colours).half().save_pretrained(tmp_path)
    assert load_model(str(tmp_path), colours).dtype == torch.float32


def padded_inputs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(4, 22, (3, 10))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    mask[2, 2:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pooling_layer_computes_the_masked_mean(
    kind: str, encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    """The output is LayerNorm(first token + 4 x mean of the tokens that are not padding)."""
    folder = encoder_dir
    if kind == "roberta":
        RobertaModel(RobertaConfig(**SMALL)).save_pretrained(tmp_path / "encoder")
        folder = tmp_path / "encoder"
    torch.manual_seed(0)
    model = load_model(str(folder), colours, pooling="mean").eval()
    plain = load_model(str(folder), colours).eval()
    assert model.config.num_hidden_layers == plain.config.num_hidden_layers + 1
    inputs = padded_inputs()
    tokens = plain.base_model(**inputs).last_hidden_state
    weights = inputs["attention_mask"][..., None].float()
    mean = (tokens * weights).sum(1) / weights.sum(1)
    expected = torch.nn.functional.layer_norm(tokens[:, 0] + 4 * mean, (32,))
    found = model.base_model(**inputs).last_hidden_state[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    # Loads as a stock class, and is not deepened twice when it is fine-tuned again.
    model.save_pretrained(tmp_path / "saved")
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    torch.testing.assert_close(stock(**inputs).logits, model(**inputs).logits)
    again = load_model(str(tmp_path / "saved"), colours, pooling="mean")
    assert again.config.num_hidden_layers == model.config.num_hidden_layers


def test_mean_pooling_uses_the_switch_of_modernbert(colours: LabelSpace, tmp_path: Path) -> None:
    modern = ModernBertConfig(
        **SMALL, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
    )
    ModernBertModel(modern).save_pretrained(tmp_path / "modern")
    model = load_model(str(tmp_path / "modern"), colours, pooling="mean")
    assert model.config.classifier_pooling == "mean"
    assert model.config.num_hidden_layers == 2
    model.save_pretrained(tmp_path / "modern-mean")
    assert load_model(str(tmp_path / "modern-mean"), colours).config.classifier_pooling == "mean"
    first = load_model(str(tmp_path / "modern-mean"), colours, pooling="first")
    assert first.config.classifier_pooling == "cls"


def test_mean_pooling_is_refused_where_not_supported(colours: LabelSpace, tmp_path: Path) -> None:
    ElectraModel(ElectraConfig(**SMALL, embedding_size=32)).save_pretrained(tmp_path / "electra")
    load_model(str(tmp_path / "electra"), colours)
    with pytest.raises(InputError, match=r"pooling mean: supported for bert, .* not for electra"):
        load_model(str(tmp_path / "electra"), colours, pooling="mean")


SENTENCE_ENCODERS = [
    ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
    ({"pooling_mode": "mean"}, "mean"),
    ({"pooling_mode": "cls"}, "first"),
]


def _sentence_encoder(source: Path, folder: Path, pooling: str) -> Path:
    shutil.copytree(source, folder)
    (folder / SENTENCE_POOLING).parent.mkdir()
    (folder / SENTENCE_POOLING).write_text(pooling)
    return folder


@pytest.mark.parametrize(("written", "expected"), SENTENCE_ENCODERS)
def test_default_pooling_is_that_of_sentence_transformers(
    written: dict[str, object],
    expected: str,
    encoder_dir: Path,
    colours: LabelSpace,
    tmp_path: Path,
) -> None:
    folder = _sentence_encoder(encoder_dir, tmp_path / "encoder", json.dumps(written))
    model = load_model(str(folder), colours)
    assert model.config.zlpr["pooling"] == expected
    assert model.config.num_hidden_layers == (3 if expected == "mean" else 2)
    other = load_model(str(folder), colours, pooling="first")
    assert other.config.zlpr["pooling"] == "first"


def test_broken_pooling_file_is_named_in_the_error(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    folder = _sentence_encoder(encoder_dir, tmp_path / "encoder", "{")
    with pytest.raises(InputError, match=r"encoder' could not be loaded: .*1_Pooling/config.json"):
        load_model(str(folder), colours)


def test_pooling_file_is_downloaded_from_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def download(name: str, file: str, revision: str | None) -> str:
        asked.append((name, file, revision))
        if name == "someone/plain":
            raise LocalEntryNotFoundError("no such file")
        path = tmp_path / "config.json"
        path.write_text('{"pooling_mode_mean_tokens": true}')
        return str(path)

    monkeypatch.setattr("zlpr_hf.models.pooling.hf_hub_download", download)
    assert find_pooling("someone/plain", tiny_config()) == "first"
    assert find_pooling("someone/sentences", tiny_config(), revision="v2") == "mean"
    assert asked[1] == ("someone/sentences", "1_Pooling/config.json", "v2")
    assert find_pooling("someone/other", ElectraConfig()) == "first"  # has no mean pooling
    assert len(asked) == 2


def test_head_from_label_names_scores_its_own_names_high(
    encoder_dir: Path, tokenizer: object, colours: LabelSpace
) -> None:
    model = load_model(str(encoder_dir), colours, pooling="mean")
    texts = [
        "red sky",
        "green grass",
        "the dog runs",
        "blue sea",
        "big fish",
        "red cat",
        "a bird is small",
    ]
    model.train()
    init_head_from_label_names(model, tokenizer, colours, texts, descriptions={"blue": "blue sea"})
    assert model.training
    model.eval()
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        names = model(
            **tokenizer(["red", "green", "blue sea"], padding=True, return_tensors="pt")
        ).logits
    torch.testing.assert_close(logits.mean(0), torch.full((3,), -1.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.std(0), torch.ones(3), atol=1e-3, rtol=0)
    # Each label scores its own name higher than the mean text does.
    assert (names.diagonal() > logits.mean(0)).all()


def test_phrases_of_a_description_count_as_much_as_the_whole(
    encoder_dir: Path, tokenizer: Any, colours: LabelSpace
) -> None:
    model = load_model(str(encoder_dir), colours, pooling="mean")
    phrases = ["green", "the grass", "a big tree"]
    whole = "green: the grass, a big tree"
    names = ["red", whole, "blue"]
    feature = {
        text: compute_features(model, tokenizer, [(text,)])[0] for text in [*names, *phrases]
    }
    init_head_from_label_names(
        model,
        tokenizer,
        colours,
        ["red sky", "blue sea"],
        descriptions={"green": whole},
        phrases=True,
    )
    mean = np.mean([feature[text] / np.linalg.norm(feature[text]) for text in phrases], axis=0)
    size = np.linalg.norm(feature[whole])
    green = (feature[whole] + size * mean / np.linalg.norm(mean)) / 2
    expected = np.array([feature["red"], green, feature["blue"]])
    expected -= expected.mean(0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = classification_head(model).weight.detach().numpy()
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_unknown_models_and_poolings_are_refused(tmp_path: Path, colours: LabelSpace) -> None:
    with pytest.raises(InputError, match="no_such_package is not installed: pip install no-such-"):
        resolve_model_path("package:no_such_package/model")
    with pytest.raises(InputError, match="no model"):
        resolve_model_path("package:zlpr_hf/data")
    with pytest.raises(InputError, match="no such folder"):
        load_model(str(tmp_path / "none"), colours)
    with pytest.raises(InputError, match="model 'nobody/nothing': not a local folder") as caught:
        load_model("nobody/nothing", colours)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="expected auto, first or mean, got 'max'"):
        load_model("x", colours, pooling="max")


def test_tokenizer_is_limited_to_the_positions_of_the_model(
    encoder_dir: Path, tokenizer: object, tmp_path: Path
) -> None:
    assert load_tokenizer(str(encoder_dir)).model_max_length == 64
    RobertaConfig(**SMALL | {"pad_token_id": 1}).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)).model_max_length == 64


def test_head_is_kept_for_the_same_labels_only(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    model = load_model(str(encoder_dir), colours, pooling="mean")
    model.save_pretrained(tmp_path / "saved")
    same = load_model(str(tmp_path / "saved"), colours)
    assert same.config.zlpr["pooling"] == "mean"
    assert torch.equal(same.classifier.weight, model.classifier.weight)
    other = load_model(str(tmp_path / "saved"), LabelSpace(("x", "y", "z")))
    assert not torch.equal(other.classifier.weight, model.classifier.weight)
    same.save_pretrained(tmp_path / "again")
    again = load_model(str(tmp_path / "again"), colours, pooling="mean")
    assert again.config.num_hidden_layers == model.config.num_hidden_layers


def save_with_offsets(encoder_dir: Path, colours: LabelSpace, folder: Path) -> PreTrainedModel:
    """Save a classifier with offsets in its configuration, and return it without them."""
    model = load_model(str(encoder_dir), colours)
    entry = dict(model.config.zlpr)
    thresholds = Thresholds((0.5, -0.25, 1.0), min_labels=1)
    model.config.zlpr = entry | {"thresholds": thresholds.to_config()}
    model.save_pretrained(folder)
    return model


def test_kept_head_keeps_its_decisions(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    stored = save_with_offsets(encoder_dir, colours, tmp_path)
    found = load_model(str(tmp_path), colours, loss="bce")
    expected = stored.classifier.bias - torch.tensor([0.5, -0.25, 1.0])
    torch.testing.assert_close(found.classifier.bias, expected)
    assert Thresholds.from_config(found.config) == Thresholds(min_labels=1)
    assert not has_new_head(found)


@pytest.mark.parametrize("names", [("x", "y", "z"), ("x", "y"), ("x", "y", "z", "a")])
def test_offsets_go_with_the_head(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path, names: tuple[str, ...]
) -> None:
    save_with_offsets(encoder_dir, colours, tmp_path)
    found = load_model(str(tmp_path), LabelSpace(names))
    assert not found.classifier.bias.any()
    assert Thresholds.from_config(found.config) == Thresholds()
    assert has_new_head(found)


@pytest.mark.parametrize("lost", [["bias"], ["weight"], ["weight", "bias"]])
def test_incomplete_head_is_drawn_anew(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path, lost: list[str]
) -> None:
    """The configuration names the labels, and the weights have a part of the head or none."""
    stored = save_with_offsets(encoder_dir, colours, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {
            key: value
            for key, value in weights.items()
            if key not in [f"classifier.{x}" for x in lost]
        },
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    found = load_model(str(tmp_path), colours)
    assert has_new_head(found)
    assert not torch.equal(found.classifier.weight, stored.classifier.weight)
    assert not found.classifier.bias.any()
    assert Thresholds.from_config(found.config) == Thresholds()


def test_sets_and_labels_of_the_same_names_do_not_share_a_head(
    encoder_dir: Path, tmp_path: Path
) -> None:
    space, sets = LabelSpace(("a", "b")), LabelSets(((0,), (1,)), 2)
    model = load_model(str(encoder_dir), space, loss="powerset", label_sets=sets)
    model.save_pretrained(tmp_path)
    assert not has_new_head(load_model(str(tmp_path), space, label_sets=sets))
    assert has_new_head(load_model(str(tmp_path), space))


def test_first_token_after_mean_pooling_is_refused(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    """The layer that computes the mean is part of the checkpoint."""
    load_model(str(encoder_dir), colours, pooling="mean").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="pooling first: .*use auto or mean"):
        load_model(str(tmp_path), colours, pooling="first")


def test_missing_tokenizer_files_are_refused(
    encoder_dir: Path, colours: LabelSpace, tmp_path: Path
) -> None:
    load_model(str(encoder_dir), colours).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer knows \d tokens, the encoder 22"):
        load_tokenizer(str(tmp_path))


def test_the_load_report_of_other_threads_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("transformers.modeling_utils")
    level, filters = logger.getEffectiveLevel(), list(logger.filters)
    with without_load_report():
        assert logger.getEffectiveLevel() == level
        logger.handle(_record("LOAD REPORT of this thread"))
        logger.handle(_record("another warning"))
        with ThreadPoolExecutor() as pool:
            pool.submit(lambda: logger.handle(_record("LOAD REPORT of another thread"))).result()
    assert caplog.messages == ["another warning", "LOAD REPORT of another thread"]
    assert logger.filters == filters


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("transformers", logging.WARNING, "", 0, message, None, None)
