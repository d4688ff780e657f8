"""Export of a model for ONNX Runtime, checked against torch on real texts."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zlpr_hf.choices import Quantization
from zlpr_hf.errors import InputError
from zlpr_hf.files.atomic import is_free, new_folder, write_json
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.onnx_model import RUN_MODEL, write_onnx
from zlpr_hf.inference.onnx_session import ONNX_FILE
from zlpr_hf.inference.windows import Texts
from zlpr_hf.models.probe import explain_failure, padding_matters
from zlpr_hf.reports.provenance import find_versions
from zlpr_hf.thresholds import decide
from zlpr_hf.zlpr_config import ZLPRConfig

EXPORT_FILE = "export.json"
MAX_LOGIT_DIFFERENCE = 1e-3
"""Maximum difference of float32 logits, a hundred times that of another order of summation."""
NEAR_ZERO = 1e-4
"""A float32 logit this close to zero may change its sign."""
MIN_EQUAL_SHARE = 0.995
"""Minimum share of equal decisions, one per text and label, for int8; the others are rounded up."""
MAX_CHANGED_SHARE = 0.05
"""Maximum of changed decisions per predicted label, for int8. With two labels of a thousand per
text, a model that predicts nothing still agrees in 99.8 % of all decisions."""
MISSING_PACKAGES = 'export needs onnx, onnxruntime and onnxscript: pip install "zlpr_hf[onnx]"'


@dataclass(frozen=True)
class Export:
    """The agreement of an exported model with the original.

    There is one decision per text and label; ``predicted_labels`` are those of torch.
    """

    source: str
    quantization: Quantization
    texts: int
    decisions: int
    predicted_labels: int
    equal_decisions: int
    equal_label_sets: int
    largest_difference: float
    mean_difference: float
    versions: dict[str, str] = field(
        default_factory=lambda: {
            **find_versions(),
            **{name: version(name) for name in ("onnx", "onnxruntime", "onnxscript")},
        }
    )

    def render(self) -> str:
        """Return the agreement as one line for the terminal."""
        return (
            f"{self.texts:,} texts: {self.equal_decisions:,} of {self.decisions:,} decisions equal "
            f"({self.equal_decisions / self.decisions:.2%}), {self.equal_label_sets:,} texts with "
            f"the same label set ({self.equal_label_sets / self.texts:.1%}), largest logit "
            f"difference {self.largest_difference:.2g}"
        )


def check_export(folder: Path, *, source: Path | None, overwrite: bool) -> None:
    """Refuse an export that cannot succeed: a package is missing, or the folder is taken."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(MISSING_PACKAGES) from error
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent}: no such folder (--output)")
    if source is not None and folder.resolve() in (source.resolve(), *source.resolve().parents):
        raise InputError(f"{folder} holds the model itself: choose another --output")
    if is_free(folder):
        return
    if not (folder / EXPORT_FILE).is_file():
        raise InputError(f"{folder} exists and is not an export: choose another --output")
    if not overwrite:
        raise InputError(f"{folder} exists: choose another --output, or use --overwrite")


def export_onnx(
    classifier: Classifier,
    texts: Texts,
    folder: Path,
    *,
    source: str,
    quantization: Quantization = "none",
    batch_size: int = 32,
) -> Export:
    """Export a model of torch; keep the export only if its decisions on the texts agree.

    An earlier export in the folder is replaced (see :func:`check_export`). The agreement is also
    written to ``export.json``.
    """
    if not texts:
        raise InputError(f"{source}: checking an export requires texts")
    model: Any = classifier.model
    with explain_failure(model):
        padded = padding_matters(model, classifier.tokenizer)
    if padded:
        raise InputError(
            f"{source}: not exported, padding changes its logits, and users of an export pad their "
            f"batches; {RUN_MODEL}"
        )
    with new_folder(folder) as part:
        expected = classifier.compute_logits(texts, batch_size=batch_size, progress=True)
        write_export(classifier, part, quantization)
        try:
            exported = Classifier.load(str(part), backend="onnxruntime")
            logits = exported.compute_logits(texts, batch_size=batch_size, progress=True)
        except InputError as error:
            reason = str(error).replace(f"{part}/", "")
            raise InputError(
                f"{source}: not exported, the copy fails: {reason}; {RUN_MODEL}"
            ) from error
        predicted = classifier.decide(expected)
        equal = predicted == exported.decide(logits)
        difference = np.abs(logits - expected)
        export = Export(
            source=source,
            quantization=quantization,
            texts=len(texts),
            decisions=equal.size,
            predicted_labels=int(predicted.sum()),
            equal_decisions=int(equal.sum()),
            equal_label_sets=int(equal.all(1).sum()),
            largest_difference=float(difference.max()),
            mean_difference=float(difference.mean()),
        )
        _check_agreement(export, expected, logits)
        write_json(part / EXPORT_FILE, asdict(export))
    return export


def write_export(classifier: Classifier, folder: Path, quantization: Quantization) -> None:
    """Write a model, its configuration and its tokenizer into a folder, without a check."""
    model: Any = classifier.model
    write_onnx(model, _sample(classifier), folder / ONNX_FILE, quantization=quantization)
    config = copy.deepcopy(model.config)
    ZLPRConfig.update(config, head_bias=None)  # the exported model has it inside
    if quantization == "int8":  # some decisions change, so a guarantee would be another one
        ZLPRConfig.update(config, guarantee={})
    config.save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)


def _sample(classifier: Classifier) -> dict[str, Tensor]:
    """Return two texts of different lengths, so that no size becomes a constant of the export."""
    tokenizer = classifier.tokenizer
    batch = tokenizer(["a text", "a text of some more words"], padding=True, return_tensors="pt")
    return {name: batch[name] for name in tokenizer.model_input_names if name in batch}


def _check_agreement(
    export: Export, expected: NDArray[np.float32], logits: NDArray[np.float32]
) -> None:
    """Refuse an export that decides differently, or has NaN or infinite logits."""
    if export.quantization == "int8":
        changed = export.decisions - export.equal_decisions
        shares = (
            (1 - MIN_EQUAL_SHARE) * export.decisions, MAX_CHANGED_SHARE * export.predicted_labels
        )  # fmt: skip
        most = math.ceil(min(shares))
        if changed > most or not np.isfinite(export.largest_difference):
            raise InputError(
                f"{export.source}: not exported, int8 changes more than {most} decisions; "
                f"{export.render()}"
            )
        return
    moved = ((logits > 0) != decide(expected)) & (np.abs(expected) > NEAR_ZERO)
    if moved.any() or not export.largest_difference <= MAX_LOGIT_DIFFERENCE:
        raise InputError(
            f"{export.source}: not exported, ONNX Runtime and torch disagree; "
            f"{export.render()}; {RUN_MODEL}"
        )
