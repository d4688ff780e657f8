"""Report: all numbers of a run as one value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zlpr_hf.data.profile import DataProfile
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.losses.modules import MultiLabelLoss
from zlpr_hf.losses.registry import loss_class, render_loss
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.reports.provenance import Provenance, find_versions
from zlpr_hf.thresholds import Thresholds

COLUMNS = (
    "f1_micro",
    "f1_macro",
    "f1_samples",
    "subset_accuracy",
    "hamming_loss",
    "lrap",
    "predicted_cardinality",
)
MODEL_ROW = "this model (logit > 0)"


@dataclass(frozen=True)
class Report:
    """What a fine-tuning run found.

    Args:
        output_dir: Folder of the saved model.
        test: Predictor to its test metrics: the two baselines and the saved model.
        validation: Metrics of the saved model on the validation split.
        label_scores: The saved model's test scores, label by label.
        thresholds: Offsets tuned on validation and folded into the bias; empty if none.
        profile: The data.
        training: Steps, seed and the like; seconds and loss of what was trained after resuming.
        provenance: What else decided the numbers; None for a report that was made by hand.
        versions: Python and the packages that decide the numbers.
        warnings: What is suspect about the numbers, with the remedy.

    Example:
        >>> from zlpr_hf import DataArguments, ModelArguments, ZLPRTrainingArguments, finetune
        >>> report: Report = finetune(
        ...     ModelArguments(model_name_or_path="google-bert/bert-base-uncased", max_length=64),
        ...     DataArguments(train_file="reviews.csv", label_delimiter=";"),
        ...     ZLPRTrainingArguments(output_dir="out/numbers", max_steps=1),
        ...     log=lambda text: None,
        ... )
        >>> 0 <= report.metrics["f1_micro"] <= 1
        True
        >>> [score.label for score in report.label_scores]
        ['big', 'small']
    """

    output_dir: str
    test: dict[str, dict[str, float]]
    validation: dict[str, float]
    label_scores: list[LabelScore]
    thresholds: Thresholds
    profile: DataProfile
    training: dict[str, Any]
    provenance: Provenance | None = None
    versions: dict[str, str] = field(default_factory=find_versions)
    warnings: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """Test metrics of the saved model."""
        return self.test[MODEL_ROW]

    @property
    def loss(self) -> str:
        """The loss with its hyper-parameters, such as ``focal(gamma=1.0)``."""
        return render_loss(self.training["loss"], self.training.get("loss_kwargs") or {})

    @property
    def loss_class(self) -> type[MultiLabelLoss]:
        """The class of the loss, with the facts that decide the wording of card and page."""
        return loss_class(self.training["loss"])

    def save(self, path: Path) -> None:
        """Write everything as JSON, whole or not at all.

        Args:
            path: The file.
        """
        content = json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=False)
        write_whole(path, content + "\n")

    def render(self, *, labels: int = 30) -> str:
        """Tables for the terminal.

        Args:
            labels: Longest table of labels; of more, the most frequent ones are shown.

        Returns:
            Test metrics beside the baselines, the labels, and how long it took.
        """
        width = max(map(len, self.test)) + 2
        lines = ["test".ljust(width) + "".join(f"{name:>17}" for name in _short(COLUMNS))]
        for name, metrics in self.test.items():
            cells = "".join(
                f"{metrics[c]:>17.4f}" if c in metrics else f"{'-':>17}" for c in COLUMNS
            )
            lines.append(name.ljust(width) + cells)
        lines += ["", render_label_scores(self.label_scores, limit=labels)]
        minutes = self.training["seconds"] / 60
        resumed = self.training["resumed_from"]
        since = f", the last {minutes:.1f} minutes from {resumed} on" if resumed else ""
        took = since or f" in {minutes:.1f} minutes"
        lines.append(f"\ntrained {self.training['steps']:,} steps{took}")
        unseen = self.training.get("unseen_label_sets", {})
        if any(unseen.values()):
            lines.append(
                f"label sets that training does not have: {unseen['validation']} validation and "
                f"{unseen['test']} test rows, which loss {self.loss} cannot get right"
            )
        lines += [f"warning: {each}" for each in self.warnings]
        return "\n".join(lines)


def render_label_scores(scores: Sequence[LabelScore], *, limit: int = 30) -> str:
    """The labels as a table for the terminal, most frequent first.

    Args:
        scores: One entry a label.
        limit: Longest table.

    Returns:
        The table, and which labels are never predicted.
    """
    shown = sorted(scores, key=lambda score: -score.support)[:limit]
    width = max(len(score.label) for score in shown) + 2
    titles = ("precision", "recall", "F1", "AP", "support")
    lines = ["label".ljust(width) + "".join(f"{name:>11}" for name in titles)]
    for score in shown:
        ap = "-" if score.average_precision is None else f"{score.average_precision:.3f}"
        lines.append(
            score.label.ljust(width)
            + f"{score.precision:>11.3f}{score.recall:>11.3f}{score.f1:>11.3f}"
            + f"{ap:>11}{score.support:>11,}"
        )
    if len(shown) < len(scores):
        lines.append(f"... and {len(scores) - len(shown)} rarer labels in the file")
    never = [score.label for score in scores if score.support and not score.predicted]
    if never:
        names = ", ".join(never[:8])
        lines.append(f"never predicted: {len(never)} of {len(scores)} labels ({names})")
    return "\n".join(lines)


def _short(names: tuple[str, ...]) -> list[str]:
    shorter = {"subset_accuracy": "subset accuracy", "predicted_cardinality": "labels/row"}
    return [shorter.get(name, name.replace("_", " ").replace("f1", "F1")) for name in names]
