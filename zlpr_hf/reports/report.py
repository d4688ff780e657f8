"""Report: all numbers of a run as one value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zlpr_hf.data.profile import DataProfile, SplitProfile
from zlpr_hf.files.atomic import write_json
from zlpr_hf.losses.base import MultiLabelLoss
from zlpr_hf.losses.registry import loss_class, render_loss
from zlpr_hf.metrics.calibration import Calibration, describe_scores
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.metrics.intervals import Interval
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.metrics.paired_bootstrap import Difference
from zlpr_hf.reports.disagreements import Disagreement
from zlpr_hf.reports.provenance import Provenance, find_versions
from zlpr_hf.reports.terminal import render_plain, report_parts
from zlpr_hf.reports.verdict import RARE, HistoryEntry, WeakLabel, render_verdict
from zlpr_hf.thresholds import Thresholds

METRIC_TITLES = {
    "f1_micro": "F1 micro", "f1_macro": "F1 macro", "f1_samples": "F1 samples",
    "precision_micro": "precision micro", "recall_micro": "recall micro",
    "subset_accuracy": "exact match", "hamming_loss": "Hamming loss", "lrap": "LRAP",
    "predicted_cardinality": "labels per text",
}  # fmt: skip
COLUMNS = (
    "f1_micro", "f1_macro", "f1_samples", "subset_accuracy", "hamming_loss", "lrap",
    "predicted_cardinality",
)  # fmt: skip
MODEL_ROW = "this model (logit > 0)"


@dataclass(frozen=True)
class Report:
    """All numbers of a fine-tuning run.

    Args:
        output_dir: Folder of the saved model.
        test: Test metrics per predictor: the two baselines and the saved model. Without a test
            split they are cross-validated: each row is judged by models trained on other folds.
        validation: Metrics of the saved model on the validation split, or of the out-of-fold
            logits with offsets fitted on them.
        label_scores: Test scores of the saved model, one entry per label.
        thresholds: Offsets tuned on validation and folded into the bias; empty if none.
        profile: Counts of the data.
        training: Steps, seed and so on; seconds and loss cover the steps since the last resume.
        temperature: Fitted on validation and folded into the head; None if none was.
        calibration: How well scores agree with the test split; None if it has no known target.
        provenance: Machine, data and weights; None for a report that was made by hand.
        versions: Versions of Python and of the packages that decide the numbers.
        warnings: Suspect numbers, each with a remedy.
        differences: This model minus TF-IDF + linear SVM on the test rows, per metric; empty
            without that baseline.
        weak_labels: The labels with the lowest F1, each with a reason.
        history: Losses and F1 per evaluation on the validation split.
        disagreements: Rows in which the model firmly contradicts a tag, with their place.
        guarantee: The guarantee whose offsets are part of the bias; None without one.
        intervals: 95 % bootstrap intervals of test metrics; empty in a large label space.

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
    temperature: float | None = None
    calibration: Calibration | None = None
    provenance: Provenance | None = None
    versions: dict[str, str] = field(default_factory=find_versions)
    warnings: list[str] = field(default_factory=list)
    differences: dict[str, Difference] = field(default_factory=dict)
    weak_labels: list[WeakLabel] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    intervals: dict[str, Interval] = field(default_factory=dict)
    guarantee: Guarantee | None = None

    @property
    def verdict(self) -> str:
        """One sentence on the differences from the SVM; empty without that baseline."""
        return render_verdict(self.differences)

    @property
    def folds(self) -> int:
        """Number of folds of a cross-fitted run, else 0."""
        return int(self.training.get("folds", 0))

    @property
    def is_cross_validated(self) -> bool:
        """Whether there is no test split, so that each row is tested out of its fold."""
        return "test" not in self.profile.splits

    @property
    def tested_on(self) -> str:
        """The rows of the test metrics, in words."""
        if not self.is_cross_validated:
            return "the test split"
        return (
            f"all rows, each by a model trained on the other {self.folds - 1} of {self.folds} folds"
        )

    def _kept(self) -> str:
        return "" if self.best_epoch is None else f", epoch {self.best_epoch:g} kept"

    @property
    def best_epoch(self) -> float | None:
        """The epoch whose weights are the model's; None without a history."""
        return next((each.epoch for each in self.history if each.kept), None)

    @property
    def metrics(self) -> dict[str, float]:
        """Test metrics of the saved model."""
        return self.test[MODEL_ROW]

    @property
    def long_texts(self) -> str:
        """How texts longer than those of training were read: ``cut``, ``mean`` or ``max``."""
        return str(self.training.get("long_texts", {}).get("rule", "cut"))

    @property
    def loss(self) -> str:
        """The loss with its hyper-parameters, such as ``focal(gamma=1.0)``."""
        return render_loss(self.training["loss"], self.training.get("loss_kwargs") or {})

    @property
    def loss_class(self) -> type[MultiLabelLoss]:
        """The class of the loss, with the facts that decide the wording of card and page."""
        return loss_class(self.training["loss"])

    @property
    def scores(self) -> str:
        """Sentences about the scores, with the numbers of the test split."""
        return describe_scores(
            self.calibration,
            self.temperature,
            tested_on=self.tested_on,
            folds=self.folds,
            guarantee=self.guarantee,
        )

    @property
    def never_predicted(self) -> list[str]:
        """Labels that the test split has and the model never predicts."""
        return [each.label for each in self.label_scores if each.support and not each.predicted]

    @property
    def untested(self) -> list[str]:
        """Labels without a row in the test split."""
        return [each.label for each in self.label_scores if not each.support]

    @property
    def rare(self) -> list[str]:
        """Labels with fewer than :data:`RARE` training rows."""
        counts = self.profile.splits["train"].label_counts
        return [label for label, count in counts.items() if count < RARE]

    def most_frequent(self, limit: int) -> list[LabelScore]:
        """Return the scores of the most frequent labels of the test split, the first ones first."""
        return sorted(self.label_scores, key=lambda each: -each.support)[:limit]

    def save(self, path: Path) -> None:
        """Write everything as JSON, whole or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a report that :meth:`save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        thresholds, profile = content["thresholds"], content["profile"]
        splits = {name: SplitProfile(**split) for name, split in profile["splits"].items()}
        content |= {
            "label_scores": [LabelScore(**each) for each in content["label_scores"]],
            "thresholds": Thresholds(**thresholds | {"offsets": tuple(thresholds["offsets"])}),
            "profile": DataProfile(**profile | {"splits": splits}),
            "calibration": Calibration.from_config(content.get("calibration") or {}),
            "provenance": content["provenance"] and Provenance(**content["provenance"]),
        }
        # Reports of earlier releases have none of these.
        differences = content.get("differences", {})
        content |= {
            "differences": {name: Difference(**each) for name, each in differences.items()},
            "weak_labels": [WeakLabel(**each) for each in content.get("weak_labels", [])],
            "history": [HistoryEntry(**each) for each in content.get("history", [])],
            "intervals": {
                name: Interval(**each) for name, each in content.get("intervals", {}).items()
            },
            "disagreements": [Disagreement(**each) for each in content.get("disagreements", [])],
            "guarantee": Guarantee.from_config(content.get("guarantee") or {}),
        }
        return cls(**content)

    def render(self, *, width: int = 80) -> str:
        """Return the end of a run as ``zlpr train`` prints it, without colours.

        Args:
            width: Columns of the terminal.

        Returns:
            Test metrics beside the SVM, the differences with their intervals, one sentence on
            them, the weakest labels, the training time and warnings.
        """
        return render_plain(report_parts(self), width=width)

    def notes(self) -> list[str]:
        """Return lines on training time, calibration, and label sets that training lacks."""
        resumed = self.training["resumed_from"]
        since = f" since {resumed}" if resumed else ""
        lines = [
            f"trained {self.training['steps']:,} steps{self._kept()}; "
            f"{self.training['seconds'] / 60:.1f} minutes{since}"
        ]
        if self.folds:
            lines[0] += f", with {self.folds} models that chose the thresholds"
        if self.calibration is not None:
            lines.append(f"scores: {self.calibration.describe()}")
        unseen = self.training.get("unseen_label_sets", {})
        if any(unseen.values()):
            lines.append(
                f"label sets missing from training: {unseen['validation']} validation and "
                f"{unseen['test']} test rows, which loss {self.loss} cannot predict"
            )
        return lines


def render_label_scores(scores: Sequence[LabelScore], *, limit: int = 30) -> str:
    """Return the scores per label as a table for the terminal, the most frequent labels first."""
    shown = sorted(scores, key=lambda score: -score.support)[:limit]
    rows = [["label", "precision", "recall", "F1", "AP", "support"]]
    for score in shown:
        ap = "-" if score.average_precision is None else f"{score.average_precision:.3f}"
        decisions = (f"{value:.3f}" for value in (score.precision, score.recall, score.f1))
        rows.append([score.label, *decisions, ap, f"{score.support:,}"])
    lines = [align_columns(rows)]
    if len(shown) < len(scores):
        lines.append(f"... and {len(scores) - len(shown)} rarer labels (--all)")
    never = [score.label for score in scores if score.support and not score.predicted]
    if never:
        names = ", ".join(never[:8]) + ", ..." * (len(never) > 8)
        lines.append(f"never predicted: {len(never)} of {len(scores)} labels ({names})")
    return "\n".join(lines)


def align_columns(rows: Sequence[Sequence[str]], *, left: int = 1, gap: int = 2) -> str:
    """Return a table for the terminal: the first columns flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        (" " * gap).join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
