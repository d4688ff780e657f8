"""Facts that differ between families: poolings, lengths, tied weights, heads inside the encoder."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LayoutLMv3Config,
    LayoutLMv3Tokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from benchmarks.tiny_models import save_encoder
from tests.training.builders import arguments, rows
from zlpr_hf import InputError, LabelSpace, ZLPRTrainer, load_model, load_tokenizer
from zlpr_hf.models.head import classification_head

LABELS = LabelSpace(("red", "green", "blue"))


def save_class(class_name: str, folder: Path) -> str:
    save_encoder(f"{class_name}ForSequenceClassification", folder)
    return str(folder)


@pytest.mark.parametrize(
    ("class_name", "own"), [("EuroBert", "late"), ("ModernBert", "cls"), ("Ultrabert", "cls")]
)
def test_pooling_of_the_family_is_kept(class_name: str, own: str, tmp_path: Path) -> None:
    encoder = save_class(class_name, tmp_path)
    found = {
        pooling: load_model(encoder, LABELS, pooling=pooling).config.classifier_pooling  # type: ignore
        for pooling in ("auto", "first", "mean")
    }
    assert found == {"auto": own, "first": own, "mean": "mean"}


@pytest.mark.parametrize(("class_name", "positions"), [("Mpt", 64), ("Gemma3", 64), ("T5", 10**6)])
def test_texts_are_cut_at_the_limit_of_the_family(
    class_name: str, positions: int, tmp_path: Path
) -> None:
    assert load_tokenizer(save_class(class_name, tmp_path)).model_max_length == positions


def test_missing_package_of_a_family_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="detectron2") as caught:
        load_model(save_class("LayoutLMv2", tmp_path), LABELS)
    assert str(caught.value).endswith("in your environment")


def test_tokenizer_that_finds_no_token_is_refused(tmp_path: Path) -> None:
    # transformers reads the tokenizer of a Qwen2 model as byte-pair encoding, in any case.
    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "red": 1}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    Qwen2Config(vocab_size=2).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no token"):
        load_tokenizer(str(tmp_path))


def test_head_inside_the_base_model_has_the_rate_of_a_head(tmp_path: Path) -> None:
    model = load_model(save_class("Perceiver", tmp_path / "encoder"), LABELS)
    trainer = ZLPRTrainer(model, arguments(tmp_path / "run"), train_dataset=rows())
    optimizer = trainer.create_optimizer()
    rates = {id(value): each["lr"] for each in optimizer.param_groups for value in each["params"]}
    head = {id(value) for value in classification_head(model).parameters()}
    assert {rates[each] for each in head} == {10 * trainer.args.learning_rate}
    others = {rate for each, rate in rates.items() if each not in head}
    assert trainer.args.learning_rate in others


def test_tokenizer_that_takes_no_plain_text_is_refused(tmp_path: Path) -> None:
    config = LayoutLMv3Config(vocab_size=262, max_position_embeddings=64)
    config.save_pretrained(tmp_path)
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*signs, "<s>", "<pad>", "</s>", "<unk>", "<mask>", "red"]
    vocabulary = {name: index for index, name in enumerate(names)}
    LayoutLMv3Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="LayoutLMv3Tokenizer, takes no plain texts"):
        load_tokenizer(str(tmp_path))
