"""A pipeline that returns the label set of a text, not the scores of all labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from zlpr_hf.choices import Backend
from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.given_inputs import read_inputs
from zlpr_hf.models.head_bias import restore_head_bias
from zlpr_hf.thresholds import logit_threshold

TASK = "multi-label-classification"
STREAM_ROWS = 1024
"""Texts read ahead from an iterator, so that texts of similar length share a batch."""

Input = str | Mapping[str, str]
LabelSet = list[dict[str, Any]]


class MultiLabelClassificationPipeline(Pipeline):
    """Return label sets: ``[{"label": ..., "score": ...}, ...]``, best first.

    One text, or one ``{"text": ..., "text_pair": ...}``, gives one such list; a list of N gives a
    list of N, and so does anything with a length, such as a column of pandas or ``datasets``; an
    iterator gives an iterator. A label is in the set if its logit is above zero, that is, if its
    score ``sigmoid(logit)`` is above 0.5. A text that is empty or holds only white space gives
    ``[]``.

    Args:
        **kwargs: ``model``, ``tokenizer``, ``device`` and so on, as for a ``Pipeline`` of
            transformers, and the options below, which every call takes too.
        threshold: Smallest score, from 0 (all labels) to 1 (default: 0.5).
        top_k: At most this many labels (default: the model's own limit).
        min_labels: At least this many labels, the best ones (default: the model's own limit).
        long_texts: ``cut``, ``mean`` or ``max``, see :meth:`zlpr_hf.Classifier.compute_logits`
            (default: as training chose).
        precision: ``float32`` or ``bfloat16``, see :meth:`zlpr_hf.Classifier.compute_logits`
            (default: ``float32``).
        batch_size: Texts, or windows of long texts, per batch (default: 32).

    Raises:
        InputError: If the model is not a multi-label classifier, or an option is out of range.

    Example:
        >>> from zlpr_hf import load_model, load_tokenizer, LabelSpace
        >>> name = "google-bert/bert-base-uncased"
        >>> model = load_model(name, LabelSpace(("joy", "anger")))
        >>> classify = MultiLabelClassificationPipeline(model=model, tokenizer=load_tokenizer(name))
        >>> classify("a small cat", threshold=0)  # all labels
        [{'label': ..., 'score': 0...}, {'label': ..., 'score': 0...}]
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classifier = Classifier.from_model(self.model, self.tokenizer)  # type: ignore[arg-type]
        # Without texts, to check the defaults now.
        self._answers([], self._forward_params, self._postprocess_params)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], ...]:
        deciding = {"threshold", "top_k", "min_labels"}
        reading = {"long_texts", "precision"}
        unknown = set(options) - deciding - reading
        if unknown:
            known = ", ".join(sorted(deciding | reading | {"batch_size"}))
            raise InputError(f"unknown option {min(unknown)!r}; expected one of {known}")
        return (
            {},
            {name: value for name, value in options.items() if name in reading},
            {name: value for name, value in options.items() if name in deciding},
        )

    def __call__(  # type: ignore[override]  # stock pipelines ignore positional arguments
        self, inputs: Any, *, batch_size: int | None = None, **options: Any
    ) -> Any:
        """Return the label set of a text, or a list or an iterator of label sets.

        Args:
            inputs: A text, a mapping with ``text`` and ``text_pair``, a list or a column of
                either, or an iterator of either that is read while the answer is consumed.
            batch_size: Texts, or windows of long texts, per batch.
            **options: The other options of the class.

        Raises:
            InputError: If an input is of another type, or an option is unknown or out of range.
        """
        _, reading, deciding = self._sanitize_parameters(**options)
        reading = {**self._forward_params, **reading}
        given = self._batch_size if batch_size is None else batch_size
        reading["batch_size"] = 32 if given is None else given
        deciding = {**self._postprocess_params, **deciding}
        reading["boundary"] = logit_threshold(deciding.get("threshold", 0.5))
        if isinstance(inputs, (str, Mapping)):
            return self._answers([inputs], reading, deciding)[0]
        if isinstance(inputs, list):
            return self._answers(inputs, reading, deciding)
        # A tuple could be a pair or two texts; iterating a data frame gives its column names.
        if (
            not isinstance(inputs, Iterable)
            or isinstance(inputs, (bytes, tuple))
            or (hasattr(inputs, "iterrows"))
        ):
            hint = '; pass one column, such as frame["text"]' if hasattr(inputs, "iterrows") else ""
            raise InputError(
                f"expected a text, a list or an iterable of texts, got {inputs!r:.60}{hint}"
            )
        if hasattr(inputs, "__len__"):
            return self._answers(list(inputs), reading, deciding)
        return self._stream(iter(inputs), reading, deciding)

    def _answers(
        self, inputs: list[Input], reading: dict[str, Any], deciding: dict[str, Any]
    ) -> list[LabelSet]:
        # Unlike a stock pipeline, all at once: texts of similar length share a batch.
        logits = self._forward(self.preprocess(inputs), **reading)
        answers: list[LabelSet] = self.postprocess(logits, **deciding)
        return answers

    def _stream(
        self, inputs: Iterator[Input], reading: dict[str, Any], deciding: dict[str, Any]
    ) -> Iterator[LabelSet]:
        while rows := list(islice(inputs, STREAM_ROWS)):
            yield from self._answers(rows, reading, deciding)

    def preprocess(self, input_: list[Input], **preprocess_parameters: Any) -> Any:
        """Return rows of one or two texts; the classifier makes windows and batches."""
        return read_inputs(input_)

    def _forward(self, input_tensors: Any, **forward_parameters: Any) -> Any:
        return self.classifier.compute_logits(input_tensors, **forward_parameters)

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        """Return the label sets of logits."""
        predictions = self.classifier.decide(model_outputs, **postprocess_parameters)
        return self.classifier.label_sets_of(model_outputs, predictions)


def load_pipeline(
    name: str | Path,
    *,
    backend: Backend = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    device: Any = None,
    **options: Any,
) -> MultiLabelClassificationPipeline:
    """Load a trained model as a pipeline that returns label sets.

    Args:
        name: Folder or Hub id of a classifier, or a folder of ``zlpr export``.
        backend: ``torch``, ``onnxruntime``, or ``auto``: ONNX Runtime for a folder that holds an
            exported model only.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether to run code from the model's folder or repository.
        device: Device of a torch model; None for the accelerator if there is one.
        **options: Defaults of every call: ``threshold``, ``top_k``, ``min_labels``,
            ``long_texts``, ``precision``, ``batch_size``, see
            :class:`zlpr_hf.MultiLabelClassificationPipeline`.

    Raises:
        InputError: If there is no such model, or an option is unknown.

    Example:
        >>> classify = load_pipeline("out/quickstart")
        >>> classify("It reads passwords from the memory of Windows.")
        [{'label': 'Credential Access', 'score': 0.88...}]
    """
    loaded = Classifier.load(
        name, backend=backend, revision=revision, trust_remote_code=trust_remote_code
    )
    return MultiLabelClassificationPipeline(
        task=TASK,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        device=loaded.model.device if device is None else device,
        **options,
    )


class _LoadedWithBias(AutoModelForSequenceClassification):
    """Loads the stock class, and the bias that training added to its head."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Return the model."""
        model, loading = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        path = str(pretrained_model_name_or_path)
        restore_head_bias(model, path, loading, revision=kwargs.get("revision"))
        return model


def register_pipeline() -> None:
    """Register the task ``multi-label-classification`` with ``transformers.pipeline``.

    Importing this package registers nothing. Calling this twice does no harm.

    Example:
        >>> from transformers import pipeline
        >>> register_pipeline()
        >>> classify = pipeline("multi-label-classification", model="out/quickstart")
        >>> classify("It reads passwords from the memory of Windows.")
        [{'label': 'Credential Access', 'score': 0.88...}]
    """
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=MultiLabelClassificationPipeline,
            pt_model=_LoadedWithBias,
            type="text",
        )
