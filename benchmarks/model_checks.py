"""Checks of a class of classifiers: each trains, saves, reloads or exports a tiny random model."""

import traceback
from collections.abc import Callable, Collection, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PrinterCallback

from benchmarks.model_table import WITH_NOTE, YES
from benchmarks.tiny_models import WORDS, save_encoder
from zlpr_hf import (
    LabelSpace,
    Thresholds,
    ZLPRTrainer,
    ZLPRTrainingArguments,
    load_model,
    load_tokenizer,
)
from zlpr_hf.data.encoding import MultiLabelCollator, encode
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.windows import split_into_windows
from zlpr_hf.models.head import classification_head
from zlpr_hf.models.lora import add_lora
from zlpr_hf.models.probe import check_model, explain_failure, padding_matters
from zlpr_hf.workflows.export import export_onnx
from zlpr_hf.zlpr_config import ZLPRConfig

LABELS = LabelSpace(("red", "green", "blue"))
OFFSETS = (0.5, -0.25, 1.0)
WINDOW = 16
"""Tokens of a window, also where the model has no limit."""
MAX_WHOLE = 300
"""Tokens of a text in one piece where the model has no limit."""
TOLERANCE = 1e-4
"""Largest difference of logits, relative to the largest logit."""
TEXTS = (
    "red",
    "the sea is blue",
    "a small green dog runs",
    "the old stone house and the new red tree",
    "a cat and a bird and a fish",
    "big",
)
Logits = NDArray[np.float32]


class LimitError(Exception):
    """A capability that a class lacks; the message is its line in the table."""


class NoteError(Exception):
    """A capability that a class has with a reservation, which is its line in the table."""


class Family:
    """A class: its encoder in a folder, and a classifier trained from it."""

    def __init__(self, class_name: str, folder: Path) -> None:
        self.name = class_name
        self.folder = folder
        self.encoder = folder / "encoder"
        self.trained = folder / "trained"
        save_encoder(class_name, self.encoder)

    @cached_property
    def tokenizer(self) -> Any:
        tokenizer = load_tokenizer(str(self.encoder))
        tokenizer.model_max_length = min(tokenizer.model_max_length, WINDOW)
        return tokenizer

    def train(self, model: Any, folder: Path) -> Any:
        """Take two steps, evaluate and save; return the trained model."""
        texts = [*TEXTS, *TEXTS]
        columns = {
            "text": texts,
            "label_ids": [[row % len(LABELS.names)] for row in range(len(texts))],
            "label_values": [[1.0]] * len(texts),
        }
        rows = datasets.Dataset.from_dict(columns)
        check_model(model, self.tokenizer)
        encoded = encode(rows, self.tokenizer, max_length=WINDOW, description="")
        arguments = ZLPRTrainingArguments(
            output_dir=str(folder),
            max_steps=2,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
            cpu_speedups=True,
        )
        trainer = ZLPRTrainer(
            model,
            arguments,
            train_dataset=encoded,
            eval_dataset=encoded,
            data_collator=MultiLabelCollator(self.tokenizer, LABELS.num_labels),
            processing_class=self.tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        with explain_failure(model):
            trainer.train()
            loss = trainer.evaluate()["eval_loss"]
        if not np.isfinite(loss):
            raise LimitError("the loss is not finite")
        trainer.save_model(str(folder))
        return trainer.model

    @cached_property
    def model(self) -> Any:
        """The trained model; its encoder and its head have changed."""
        torch.manual_seed(0)
        model = load_model(str(self.encoder), LABELS)
        before = {name: value.clone() for name, value in model.named_parameters()}
        trained = self.train(model, self.trained)
        after = dict(trained.named_parameters())
        changed = {id(after[name]) for name in before if not after[name].equal(before[name])}
        head = {id(value) for value in classification_head(trained).parameters()}
        if not head <= changed:
            raise LimitError("a weight of the head does not change")
        if changed == head:
            raise LimitError("no weight of the encoder changes")
        return trained

    @cached_property
    def classifier(self) -> Classifier:
        return Classifier.from_model(self.model, self.tokenizer)

    @cached_property
    def single(self) -> Logits:
        """Logits of the texts one by one."""
        return one_by_one(self.classifier, TEXTS)

    @cached_property
    def with_offsets(self) -> Path:
        """The saved model with offsets."""
        folder = self.folder / "offsets"
        self.classifier.save(folder, Thresholds(OFFSETS))
        return folder

    def call(self, model: Any) -> Logits:
        """Return the logits of a model of transformers, text by text."""
        windows, _ = split_into_windows(self.tokenizer, [(text,) for text in TEXTS], cut=True)
        inputs = [{name: torch.tensor([ids]) for name, ids in each.items()} for each in windows]
        with torch.no_grad():
            return np.concatenate([model(**each).logits.numpy() for each in inputs])


def one_by_one(classifier: Classifier, texts: tuple[str, ...]) -> Logits:
    return np.concatenate([classifier.compute_logits([text]) for text in texts])


def compare(found: Logits, expected: Logits, where: str) -> None:
    difference = float(np.abs(found - expected).max())
    scale = max(1.0, float(np.abs(expected).max()))
    if not difference <= TOLERANCE * scale:
        raise LimitError(f"other logits {where} (by {difference:.1g} of {scale:.1g})")


def check_training(family: Family) -> None:
    """Two steps change encoder and head; afterwards texts have different logits."""
    logits = family.single
    if not np.isfinite(logits).all():
        raise LimitError("logits are not finite")
    if np.ptp(logits, axis=0).max() < 1e-3 * max(1.0, np.abs(logits).max()):
        raise LimitError("all texts have the same logits")


def check_reloading(family: Family) -> None:
    """The saved model has the same logits, in this package and in the stock class."""
    loaded = Classifier.load(family.trained)
    compare(one_by_one(loaded, TEXTS), family.single, "after reloading")
    stock = AutoModelForSequenceClassification.from_pretrained(family.trained).eval()
    compare(family.call(stock), family.single, "in the stock class")


def check_batches(family: Family) -> None:
    """A text has the same logits alone and in a batch, also if a text is empty."""
    lengths = [len(family.tokenizer(text)["input_ids"]) for text in TEXTS]
    for length in sorted(set(lengths)):
        same = [row for row, each in enumerate(lengths) if each == length]
        texts = [TEXTS[row] for row in same]
        found = family.classifier.compute_logits([*texts, *reversed(texts)])[: len(same)]
        compare(found, family.single[same], "beside other texts of the same length")
    if family.tokenizer("")["input_ids"]:  # tokenizers of decoders add no token
        empty = family.classifier.compute_logits([""])
        found = family.classifier.compute_logits(["", TEXTS[0]])
        compare(found, np.concatenate([empty, family.single[:1]]), "beside an empty text")


def check_padding(family: Family) -> None:
    """A text has the same logits alone and beside longer texts."""
    found = family.classifier.compute_logits(TEXTS)
    compare(found, family.single, "beside longer texts")
    if padding_matters(family.model, family.tokenizer):
        raise LimitError(
            "padding changes the logits: evaluation and prediction read texts of one length at a "
            "time, and so must a stock pipeline"
        )


def check_offsets(family: Family) -> None:
    """Offsets become part of the saved model, which decides with them."""
    expected = family.single - np.asarray(OFFSETS, np.float32)
    loaded = Classifier.load(family.with_offsets)
    compare(one_by_one(loaded, TEXTS), expected, "with offsets folded")
    if ZLPRConfig.read(loaded.model.config).head_bias is not None:
        raise NoteError(
            "the head has no bias, so offsets add one, which zlpr_hf and ONNX exports read and the "
            "stock class does not"
        )
    stock = AutoModelForSequenceClassification.from_pretrained(family.with_offsets).eval()
    compare(family.call(stock), expected, "with offsets in the stock class")


def check_export(family: Family) -> None:
    """ONNX Runtime has the same logits, with offsets folded."""
    loaded = Classifier.load(family.with_offsets)
    rows = [(text,) for text in TEXTS]
    export_onnx(loaded, rows, family.folder / "onnx", source="model")
    exported = Classifier.load(family.folder / "onnx", backend="onnxruntime")
    compare(exported.compute_logits(TEXTS), loaded.compute_logits(TEXTS), "in ONNX Runtime")


def check_lora(family: Family) -> None:
    """An adapter is trained, saved, and reloaded on top of its encoder."""
    torch.manual_seed(1)
    model = load_model(str(family.encoder), LABELS)
    wrapped = add_lora(model, name=str(family.encoder), rank=2, dropout=0.0)
    folder = family.folder / "adapter"
    trained = family.train(wrapped, folder)
    expected = family.call(trained.eval())
    torch.manual_seed(2)
    loaded = Classifier.load(folder)
    compare(one_by_one(loaded, TEXTS), expected, "after reloading the adapter")


def check_windows(family: Family) -> None:
    """A text as long as the model allows is read whole, and a longer one in windows."""
    whole = load_tokenizer(str(family.encoder))
    whole.model_max_length = min(whole.model_max_length, MAX_WHOLE)
    text = " ".join(WORDS)
    long_text = " ".join([text] * (1 + whole.model_max_length // len(WORDS)))
    logits = Classifier.from_model(family.model, whole).compute_logits([long_text])
    if not np.isfinite(logits).all():
        raise LimitError(f"logits of {whole.model_max_length} tokens are not finite")
    if not whole.is_fast:
        raise LimitError("long texts are cut: windows require a fast tokenizer")
    tokenizer = family.tokenizer
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    room = WINDOW - tokenizer.num_special_tokens_to_add()
    step = room - WINDOW // 4
    starts = range(0, len(ids) - WINDOW // 4, step)
    windows = tuple(tokenizer.decode(ids[start : start + room]) for start in starts)
    expected = one_by_one(family.classifier, windows).max(0)
    compare(family.classifier.compute_logits([text], long_texts="max")[0], expected, "in windows")


CHECKS: dict[str, Callable[[Family], None]] = {
    "trains": check_training,
    "reloads": check_reloading,
    "batch": check_batches,
    "padding": check_padding,
    "offsets": check_offsets,
    "lora": check_lora,
    "windows": check_windows,
    "exports": check_export,
}


def check_class(
    class_name: str, folder: Path, *, without: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield "yes" or one line per capability; a class that does not train has only the first."""
    family: Any = None

    def train() -> None:
        nonlocal family
        family = Family(class_name, folder)
        check_training(family)

    trains = _outcome(train, folder)
    yield "trains", trains
    if trains != YES:
        return
    for capability, check in CHECKS.items():
        if capability != "trains" and capability not in without:
            yield capability, _outcome(partial(check, family), folder)


def _outcome(action: Callable[[], None], folder: Path) -> str:
    try:
        action()
    except NoteError as note:
        return f"{WITH_NOTE}{note}"
    except (LimitError, InputError) as error:
        return str(error).replace(f"{folder}/", "")
    except Exception as error:
        traceback.print_exc()
        return f"traceback: {type(error).__name__}: {' '.join(str(error).split()):.200}"
    return YES
