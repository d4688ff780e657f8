"""The report of a run: its numbers, and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.data.dataset import LabelledData
from zlpr_hf.files.atomic import whole_file, write_whole
from zlpr_hf.metrics.bootstrap import compute_intervals
from zlpr_hf.metrics.intervals import Interval
from zlpr_hf.metrics.paired_bootstrap import Bools, Difference
from zlpr_hf.reports.card_examples import CardExample, choose_examples
from zlpr_hf.reports.disagreements import EvaluatedSplit, find_disagreements
from zlpr_hf.reports.html import render_html_report
from zlpr_hf.reports.model_card import CardFacts, write_model_card
from zlpr_hf.reports.report import MODEL_ROW, Report
from zlpr_hf.reports.sanity_checks import check_run
from zlpr_hf.reports.verdict import SVM_ROW, Mistakes, compare_with_baseline, find_weak_labels
from zlpr_hf.workflows.arguments import RunConfig
from zlpr_hf.workflows.baselines import score_baselines
from zlpr_hf.workflows.outcome import Outcome
from zlpr_hf.workflows.output_dir import LOGITS_FILE, REPORT_FILE, RESULTS_FILE
from zlpr_hf.workflows.prepare import Prepared


def build_report(
    output_dir: Path,
    prepared: Prepared,
    outcome: Outcome,
    baselines: Mapping[str, Bools],
    training: dict[str, Any],
) -> Report:
    """Return all numbers of a run but its history and provenance.

    ``baselines`` are decisions on the test split.
    """
    data, untuned = prepared.data, outcome.untuned
    before = {} if untuned is None else {"before tuning thresholds": untuned}
    return Report(
        output_dir=str(output_dir),
        test={**score_baselines(baselines, data), **before, MODEL_ROW: outcome.metrics["test"]},
        validation=outcome.metrics["validation"],
        label_scores=outcome.label_scores,
        thresholds=outcome.thresholds,
        temperature=outcome.temperature,
        calibration=outcome.calibration,
        profile=prepared.profile,
        training=training,
        warnings=check_run(prepared.profile, outcome.metrics),
        differences=_compare_with_svm(prepared, outcome, baselines),
        intervals=_compute_intervals(data, outcome),
        disagreements=find_disagreements(_evaluated_splits(data, outcome), outcome.label_scores),
        weak_labels=find_weak_labels(
            outcome.label_scores,
            prepared.profile.splits["train"].label_counts,
            None if prepared.large else _find_mistakes(prepared, outcome),
        ),
    )


def _compute_intervals(data: LabelledData, outcome: Outcome) -> dict[str, Interval]:
    if "test" not in outcome.logits:
        return {}
    return compute_intervals(
        outcome.logits["test"], data.targets("test"), predictions=outcome.decisions["test"]
    )


def _evaluated_splits(data: LabelledData, outcome: Outcome) -> dict[str, EvaluatedSplit]:
    """Return logits, targets, texts and places per split; nothing in a large label space."""
    return {
        split: EvaluatedSplit(
            logits,
            outcome.decisions[split],
            data.targets(split),
            data.texts(split),
            [data.place(split, row) for row in range(len(logits))],
        )
        for split, logits in outcome.logits.items()
        if split == "test" or data.split_of(split) == split
    }


def _compare_with_svm(
    prepared: Prepared, outcome: Outcome, baselines: Mapping[str, Bools]
) -> dict[str, Difference]:
    if SVM_ROW not in baselines:
        return {}
    decided = outcome.decisions["test"]
    return compare_with_baseline(decided, baselines[SVM_ROW], prepared.data.targets("test"))


def _find_mistakes(prepared: Prepared, outcome: Outcome) -> Mistakes:
    cut = np.asarray(prepared.encoded["test"]["truncated"]) & (outcome.long_texts.rule == "cut")
    return Mistakes.from_logits(
        outcome.logits["test"], outcome.decisions["test"], prepared.data.targets("test"), cut
    )


def write_report(
    folder: Path,
    report: Report,
    outcome: Outcome,
    prepared: Prepared,
    config: RunConfig,
    *,
    card_name: str,
) -> None:
    """Write the logits if asked, the HTML page, the model card and all numbers."""
    data, dataset_name = prepared.data, config.data.dataset_name
    if config.model.save_logits:
        targets = {split: data.targets(split) for split in outcome.logits}
        save_logits(folder / LOGITS_FILE, outcome.logits, targets)
    if not prepared.large:
        page = render_html_report(
            report, _evaluated_splits(data, outcome), names=data.label_space.names
        )
        write_whole(folder / REPORT_FILE, page)
    facts = CardFacts(
        name=card_name,
        base_model=config.model.model_name_or_path,
        max_length=config.model.max_length,
        dataset=dataset_name or config.data.train_file,
        # Texts of other datasets may be private.
        examples=_choose_examples(data, outcome) if dataset_name in CORPORA else (),
        license=config.model.license,
        language=config.model.language,
    )
    write_model_card(folder, report, facts)
    report.save(folder / RESULTS_FILE)


def _choose_examples(data: LabelledData, outcome: Outcome) -> list[CardExample]:
    """Return texts for the card; none in a large label space."""
    if "test" not in outcome.logits:
        return []
    texts = [" / ".join(each) for each in data.texts("test")]
    return choose_examples(
        texts, outcome.logits["test"], outcome.decisions["test"], data.label_space.names
    )


def save_logits(
    path: Path, logits: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
) -> None:
    """Write logits and targets per split for ``numpy.load``: ``test_logits``, ``test_targets``."""
    arrays = {f"{name}_logits": values for name, values in logits.items()}
    arrays |= {f"{name}_targets": values for name, values in targets.items()}
    with whole_file(path) as part:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
