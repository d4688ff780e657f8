"""Certificate of a model: the same texts through every backend that runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm.auto import tqdm

from zlpr_hf.errors import InputError
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_model import OnnxModel
from zlpr_hf.inference.windows import Texts
from zlpr_hf.metrics.top_k import MAX_DENSE_LABELS
from zlpr_hf.reports.certificate import (
    Answers,
    Certificate,
    CheckedTexts,
    Comparison,
    compare,
)
from zlpr_hf.reports.provenance import find_versions
from zlpr_hf.workflows.certify.backends import NotRunError, Setup, check_server, find_backends
from zlpr_hf.workflows.certify.servers import ServerAddress
from zlpr_hf.workflows.certify.texts import describe_texts, hard_cases, sample_texts
from zlpr_hf.workflows.silence import silence
from zlpr_hf.zlpr_config import ZLPRConfig

OPTIONAL_PACKAGES = ("onnxruntime", "openvino")


def check_model(classifier: Classifier) -> None:
    """Refuse models that are themselves an export, or have too many labels to hold all logits.

    Raises:
        InputError: If so.
    """
    if isinstance(classifier.model, OnnxModel):
        raise InputError("certify the torch model; ONNX Runtime is one of the backends it runs")
    if classifier.label_space.num_labels > MAX_DENSE_LABELS:
        raise InputError(
            f"certificates are not supported for more than {MAX_DENSE_LABELS:,} labels, got "
            f"{classifier.label_space.num_labels:,}"
        )


def certify(
    classifier: Classifier,
    texts: Texts,
    *,
    model: str,
    origin: str,
    servers: Sequence[ServerAddress] = (),
    count: int = 300,
    batch_size: int = 32,
    loading: Mapping[str, Any],
) -> Certificate:
    """Compare the label sets of every backend with those of the model.

    Args:
        classifier: The model, see :func:`check_model`.
        texts: Texts to sample from; hard cases are added.
        model: Folder or Hub id of the model.
        origin: Name of the texts.
        servers: Running servers.
        count: Number of texts.
        batch_size: Texts per batch.
        loading: ``revision`` and ``trust_remote_code``, for other loaders.

    Raises:
        InputError: If there are no texts, or a server cannot be reached.
    """
    own = sample_texts(texts, count)
    if not own:
        raise InputError(f"{origin}: certifying a model requires texts")
    hard = hard_cases(classifier, own)
    rows = [*own, *hard]
    with TemporaryDirectory() as folder, silence():
        setup = Setup(classifier, model, Path(folder), batch_size, loading)
        for each in servers:  # one that is not there is found before the long work
            check_server(setup, each, own[0])
        expected = setup.answer(classifier, rows)
        checked = describe_texts(classifier, rows, len(hard))
        backends = find_backends(setup, servers)
        head_bias = bool(ZLPRConfig.read(classifier.model.config).head_bias)
        results = []
        with tqdm(backends, unit="backend", leave=False) as bar:
            for backend in bar:
                bar.set_description(backend.name)
                try:
                    answers = backend.run(rows)
                except NotRunError as reason:
                    results.append(
                        Comparison(backend.name, backend.cut, backend.required, not_run=str(reason))
                    )
                    continue
                results.append(
                    compare(
                        backend.name,
                        backend.cut,
                        answers,
                        model=expected,
                        checked=checked,
                        labels=classifier.label_space.names,
                        tolerance=backend.tolerance,
                        required=backend.required,
                        otherwise="head bias" if head_bias and backend.stock else "other",
                    )
                )
    return Certificate(
        model=model,
        fingerprint=classifier.fingerprint(),
        texts=f"{len(own):,} of {origin} and {len(hard)} hard cases",
        labels=classifier.label_space.num_labels,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=_notes(classifier, expected, checked, results),
        backends=results,
        versions=find_versions(*OPTIONAL_PACKAGES),
    )


def _notes(
    classifier: Classifier, expected: Answers, checked: CheckedTexts, results: Sequence[Comparison]
) -> list[str]:
    """Return the rules of the model that a server which only cuts its outputs cannot follow."""
    notes = []
    limits = classifier.thresholds
    changed = int((expected.predicted != (expected.logits > 0)).any(1).sum())
    for name, value in (("min_labels", limits.min_labels), ("max_labels", limits.max_labels)):
        if value:
            notes.append(
                f"{name} {value} is a rule of zlpr_hf that stock servers do not have: limits on "
                f"the number of labels change the label sets of {changed} of these texts"
            )
    rule = classifier.long_texts
    if rule != "cut":
        notes.append(
            f"long texts are read in windows ({rule}); stock servers read the first "
            f"{classifier.tokenizer.model_max_length} tokens: {int(checked.long.sum())} of these "
            "texts are longer. A model trained with --long_texts cut has one rule everywhere"
        )
    if ZLPRConfig.read(classifier.model.config).head_bias:
        notes.append(
            "head bias: the offsets of this decoder are in a bias that zlpr_hf added; classes of "
            "transformers and stock servers load the model without it"
        )
    if any("blank text" in each.causes for each in results):
        notes.append(
            "blank text: a text without content has no label in zlpr_hf, but labels on stock "
            "servers; answer it with no label before you call them"
        )
    if any("special token" in each.causes for each in results):
        notes.append(
            "special token: the backend reads a special token that is typed in a text, such as "
            f"{classifier.tokenizer.all_special_tokens[0]}, as one; zlpr_hf reads it as text"
        )
    if rule == "cut" and any("long text" in each.causes for each in results):
        notes.append(
            f"long text: the model reads the first {classifier.tokenizer.model_max_length} tokens "
            "of a text, special tokens included; the backend cuts elsewhere"
        )
    return notes
