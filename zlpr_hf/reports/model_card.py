"""The model card: README.md of a trained model, from the numbers of its run."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from jinja2 import Environment, PackageLoader

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.files.paths import shorten_path
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.reports.report import COLUMNS, Report
from zlpr_hf.reports.svg import render_bars

CARD_FILE = "README.md"
CHART_FILE = "labels.svg"
ADAPTER_FILE = "adapter_config.json"
EMISSIONS_FILE = "emissions.csv"
MAX_LABELS = 100
RARE = 20
"""A label with fewer training texts is called rare."""
MAX_EXAMPLE_LENGTH = 500
DATA_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
METRICS = {
    "f1_micro": ("f1", "F1 micro"),
    "f1_macro": ("f1", "F1 macro"),
    "f1_samples": ("f1", "F1 samples"),
    "subset_accuracy": ("accuracy", "Subset accuracy"),
}
# What could open a tag, a cell or code becomes an entity, the rest of Markdown's signs are quoted.
_QUOTED = {ord(sign): f"&#{ord(sign)};" for sign in "&<>|`\"'"} | {
    ord(sign): f"\\{sign}" for sign in r"\*_[]~$#"
}


@dataclass(frozen=True)
class CardFacts:
    """What a card says that the numbers of a run do not.

    Args:
        name: What a reader loads: the id on the Hub, or the folder.
        base_model: The encoder as it was given to the run.
        max_length: Longest text in tokens.
        dataset: The data set or file as it was given to the run.
        license: Identifier of the model's licence, such as ``apache-2.0``.
        examples: A few texts to try; they are published with the card.
        adapter: Whether the folder holds low-rank adapters in place of a whole model.
        emissions: Grams of CO2-equivalents, where something measured them.
    """

    name: str
    base_model: str
    max_length: int
    dataset: str | None = None
    license: str | None = None
    examples: Sequence[str] = ()
    adapter: bool = False
    emissions: float | None = None


def escape_markdown(text: Any) -> str:
    r"""A string that Markdown and HTML show as it is, in a table too.

    Args:
        text: Anything; white space becomes single spaces.

    Returns:
        The text with all signs quoted that would mean something.

    Example:
        >>> print(escape_markdown("a|b <c> d_e"))
        a&#124;b &#60;c&#62; d\_e
    """
    return " ".join(str(text).split()).translate(_QUOTED)


def write_model_card(folder: Path, report: Report, facts: CardFacts) -> None:
    """Write ``README.md`` and its picture ``labels.svg``, each whole or not at all.

    Args:
        folder: Folder of the model.
        report: The numbers of the run.
        facts: What they do not say. Whether the folder holds adapters only is found there.
    """
    facts = replace(facts, adapter=(folder / ADAPTER_FILE).is_file())
    bars = [(score.label, score.f1) for score in _most_frequent(report)]
    for name, text in (
        (CHART_FILE, render_bars("F1 of the labels", bars)),
        (CARD_FILE, render_model_card(report, facts)),
    ):
        write_whole(folder / name, text)


def render_model_card(report: Report, facts: CardFacts) -> str:
    """Write a model card.

    Args:
        report: The numbers of the run.
        facts: What they do not say. Folders of this machine are cut to their last part.

    Returns:
        Markdown with a block of metadata that the Hub reads.
    """
    environment = Environment(
        loader=PackageLoader("zlpr_hf", "reports"),
        autoescape=False,  # the text is Markdown: what comes from data goes through the filter md
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escape_markdown, "shorten": shorten_path}
    counts = report.profile.splits["train"].label_counts
    name = shorten_path(facts.name)
    text: str = environment.get_template("model_card.md.jinja").render(
        facts=facts,
        report=report,
        metadata=_metadata(report, facts).to_yaml(),
        title=_last_part(name),
        name=json.dumps(name, ensure_ascii=False),
        shell_name=shlex.quote(name),
        base_id=_hub_id(facts.base_model),
        dataset_id=_hub_id(facts.dataset),
        is_corpus=facts.dataset in CORPORA,
        # Below its table: what is rare, missing, not known or in more than one split.
        data_notes=report.profile.render().splitlines()[1 + len(report.profile.splits) :],
        columns=COLUMNS,
        shown=_most_frequent(report),
        never=[each.label for each in report.label_scores if each.support and not each.predicted],
        untested=[each.label for each in report.label_scores if not each.support],
        rare=[label for label, count in counts.items() if count < RARE],
        rare_below=RARE,
    )
    return text


def _last_part(name: str) -> str:
    return PurePosixPath(name).name or "model"


def _hub_id(name: str | None) -> str | None:
    """The name, if it can only be one on the Hub: it was loaded, and is neither here nor ours."""
    if name is None or name in CORPORA or name.endswith(DATA_FILES) or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _metadata(report: Report, facts: CardFacts) -> ModelCardData:
    dataset = _hub_id(facts.dataset)
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label text classification",
            # Data that is not on the Hub has no id there; its type is then that of its content.
            dataset_type=dataset or "text",
            dataset_name=shorten_path(facts.dataset or "text"),
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=report.metrics[key],
        )
        for key, (kind, name) in METRICS.items()
    ]
    examples = [" ".join(text.split())[:MAX_EXAMPLE_LENGTH] for text in facts.examples]
    extra: dict[str, Any] = {"widget": [{"text": text} for text in examples]} if examples else {}
    if facts.emissions is not None:
        extra["co2_eq_emissions"] = {
            "emissions": facts.emissions,
            "source": "codecarbon",
            "training_type": "fine-tuning",
        }
    return ModelCardData(
        license=facts.license,
        base_model=_hub_id(facts.base_model),
        datasets=[dataset] if dataset else None,
        pipeline_tag="text-classification",
        library_name="peft" if facts.adapter else "transformers",
        tags=["zlpr", "multi-label"],
        metrics=["f1", "accuracy"],
        model_name=_last_part(shorten_path(facts.name)),
        eval_results=results,
        **extra,
    )


def _most_frequent(report: Report) -> list[LabelScore]:
    """All labels in the order of their ids, or the most frequent ones if there are too many."""
    if len(report.label_scores) <= MAX_LABELS:
        return report.label_scores
    return sorted(report.label_scores, key=lambda score: -score.support)[:MAX_LABELS]


def read_emissions(folder: Path) -> float | None:
    """What codecarbon wrote down beside a run, if it did.

    Args:
        folder: Where it wrote.

    Returns:
        Grams of the last run.
    """
    try:
        with (folder / EMISSIONS_FILE).open(encoding="utf-8", newline="") as file:
            return 1000 * float(list(csv.DictReader(file))[-1]["emissions"])
    except (OSError, IndexError, KeyError, ValueError):
        return None
