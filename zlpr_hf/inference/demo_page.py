"""The page of ``zlpr demo``: labels against the zero line, and which words mattered."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import yaml
from huggingface_hub import hf_hub_download, metadata_load
from jinja2 import Environment, PackageLoader

from zlpr_hf.errors import InputError
from zlpr_hf.inference.attribution import WordEffects, measure_words
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.demo_file import (
    MAX_ROWS,
    SUFFIXES,
    LabelledFile,
    label_first_rows,
    table_rows,
)
from zlpr_hf.inference.windows import split_into_windows
from zlpr_hf.metrics.calibration import Calibration, describe_scores
from zlpr_hf.metrics.guarantee import Guarantee
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.thresholds import compute_scores
from zlpr_hf.zlpr_config import ZLPRConfig

if TYPE_CHECKING:
    import gradio

MAX_LABELS_SHOWN, MAX_NAMES = 1000, 30
"""Labels of an answer, and label names at the top of the page."""
MAX_QUOTE = 200
"""Characters of the text above its answer."""
SURE, BORDERLINE = 0.4, 0.15
"""Distance of a score from 0.5 from which it is called sure, and up to which borderline."""
CACHE_SECONDS = (600, 3600)
"""How often uploaded files are looked at, and the age at which they are deleted."""
FULL_SHADE = 0.5
"""Words are shaded by their share of the largest effect, or of this if all effects are small."""

LAUNCH: dict[str, Any] = {
    "share": False,
    "run_history": False,
    "enable_monitoring": False,
    "mcp_server": False,
    "ssr_mode": False,
    "pwa": False,
    "show_error": True,
    "footer_links": ["gradio"],
    "quiet": True,
    "max_file_size": "50mb",
}
"""Arguments of ``launch``: nothing leaves the machine, nothing is recorded."""


def build_demo(
    classifier: Classifier, *, title: str, examples: Sequence[str] = ()
) -> gradio.Blocks:
    """Build the page of a model; serve it with ``launch(**LAUNCH)``."""
    import gradio

    gr: Any = gradio  # its components get their methods at run time
    names = classifier.label_space.names
    folder = TemporaryDirectory(prefix="zlpr-demo-")  # removed when the process ends
    lock = Lock()  # a fast tokenizer must not be used by two threads at a time

    def classify(text: str, threshold: float) -> tuple[Any, ...]:
        if not text.strip():
            hint = _render("note", text="There is no text yet: type one, then press Enter.")
            return hint, None, gr.update(), "", gr.update(visible=False)
        try:
            with lock:
                logits = classifier.compute_logits([(text,)])
                answer = render_answer(classifier, text, logits, threshold=threshold)
        except InputError as error:
            note = _render("note", text=str(error))
            return note, None, gr.update(), "", gr.update(visible=False)
        best = gr.update(value=names[int(logits[0].argmax())])
        return answer, (text, logits), best, "", gr.update(visible=True)

    def decide_again(asked: tuple[str, Any] | None, threshold: float) -> Any:
        if asked is None:
            return gr.update()
        with lock:
            return render_answer(classifier, *asked, threshold=threshold)

    def explain(asked: tuple[str, Any], label: str) -> str:
        try:
            with lock:
                return render_words(measure_words(classifier, asked[0], label))
        except InputError as error:
            return _render("note", text=str(error))

    def label_file(path: str | None, column: str | None, threshold: float) -> tuple[Any, ...]:
        if path is None:
            return "", gr.update(visible=False), gr.update(visible=False)
        try:
            with lock:
                found = label_first_rows(
                    classifier, path, Path(folder.name), column=column, threshold=threshold
                )
        except InputError as error:
            note = _render("note", text=str(error).replace(path, Path(path).name))
            return note, gr.update(), gr.update(visible=False)
        columns = gr.update(choices=found.columns, value=found.column, visible=True)
        return render_file(found), columns, gr.update(value=str(found.output), visible=True)

    limits = classifier.thresholds
    length = f"{classifier.tokenizer.model_max_length:,} tokens"
    windows = classifier.long_texts != "cut" and classifier.tokenizer.is_fast
    longer = "are read in windows that overlap" if windows else "are cut"
    private = {"api_visibility": "private"}
    plain = {"apply_default_css": False, "js_on_load": None}
    shown = plain | {"html_template": '<div aria-live="polite">${value}</div>'}
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=CACHE_SECONDS) as page:
        head = _render(
            "head", title, names[:MAX_NAMES], len(names),
            most=limits.max_labels, least=limits.min_labels,
        )  # fmt: skip
        gr.HTML(head, **plain)
        asked = gr.State(None)
        with gr.Tabs():
            with gr.Tab("A text"), gr.Row(elem_classes="zlpr-columns"):
                with gr.Column(min_width=300):
                    box = gr.Textbox(
                        label="Text",
                        info="Enter classifies, Shift+Enter starts a line. Texts over "
                        f"{length} {longer}.",
                        # With one line, which grows, Enter submits.
                        lines=1,
                        max_lines=15,
                        autofocus=True,
                        elem_classes="zlpr-text",
                    )
                    button = gr.Button("Classify", variant="primary")
                    threshold = _threshold_slider(gr)
                    below = gr.Column()
                with gr.Column(min_width=300):
                    answer = gr.HTML(**shown)
                    with gr.Column(visible=False) as why:
                        label = gr.Dropdown(
                            list(names),
                            label="For which label?",
                            filterable=len(names) > 15,
                            elem_classes="zlpr-label",
                        )
                        why_button = gr.Button("Which words mattered?", elem_classes="zlpr-why")
                        words = gr.HTML(**shown)
            with gr.Tab("A file"):
                file = gr.File(
                    label=f"CSV or TSV file; its first {MAX_ROWS} rows are labelled",
                    file_types=list(SUFFIXES),
                    type="filepath",
                    height=140,
                )
                with gr.Row():
                    column = gr.Dropdown([], label="Column of the text", visible=False)
                    file_threshold = _threshold_slider(gr)
                download = gr.DownloadButton("Download these rows with labels", visible=False)
                table = gr.HTML(**shown)
        outputs = [answer, asked, label, words, why]
        if examples:
            with below:
                gr.Examples(
                    [[text] for text in examples],
                    box,
                    outputs,
                    lambda text: classify(text, 0.5),
                    run_on_click=True,
                    cache_examples=False,
                    **private,
                )
            page.load(lambda value: classify(examples[0], value), threshold, outputs, **private)
        gr.on([box.submit, button.click], classify, [box, threshold], outputs, **private)
        threshold.change(decide_again, [asked, threshold], answer, **private)
        why_button.click(explain, [asked, label], words, **private)
        results = [table, column, download]
        file.change(label_file, [file, gr.State(None), file_threshold], results, **private)
        again = [column.input, file_threshold.release]
        gr.on(again, label_file, [file, column, file_threshold], results, **private)
    return cast("gradio.Blocks", page)


def _threshold_slider(gr: Any) -> Any:
    return gr.Slider(
        0.05,
        0.95,
        value=0.5,
        step=0.05,
        label="Threshold",
        info="A label is predicted above this score; 0.5 is the rule of the model.",
    )


def render_answer(classifier: Classifier, text: str, logits: Any, *, threshold: float = 0.5) -> str:
    """Return the predicted and the other labels of a text with logits ``(1, L)``, as HTML."""
    predictions = classifier.decide(logits, threshold=threshold)[0]
    rows = [
        {
            "label": classifier.label_space.names[index],
            "predicted": bool(predictions[index]),
            "share": 100 * score,
            "logit": _signed(logits[0, index]),
            "score": _rounded(score),
            "word": describe_score(score),
        }
        for index in np.argsort(-logits[0], kind="stable")
        for score in [float(compute_scores(logits[0, index]))]
    ]
    others = [row for row in rows if not row["predicted"]]
    rule = classifier.long_texts
    windows, _ = split_into_windows(classifier.tokenizer, [(text,)], cut=rule == "cut")
    return _render(
        "answer",
        text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE].rstrip() + "…",
        predicted=[row for row in rows if row["predicted"]],
        others=others[:MAX_LABELS_SHOWN],
        left_out=len(others[MAX_LABELS_SHOWN:]),
        threshold=threshold,
        windows=len(windows),
        rule=rule,
        is_long=classifier.count_long([(text,)]) > 0,
        window=classifier.tokenizer.model_max_length,
        about_scores=_describe_scores(classifier.model.config),
    )


def describe_score(score: float) -> str:
    """Return a score in a word.

    Example:
        >>> [describe_score(score) for score in (0.97, 0.8, 0.55, 0.2, 0.01)]
        ['sure', 'likely', 'borderline', 'unlikely', 'surely not']
    """
    if abs(score - 0.5) < BORDERLINE:
        return "borderline"
    is_sure = abs(score - 0.5) >= SURE
    if score > 0.5:
        return "sure" if is_sure else "likely"
    return "surely not" if is_sure else "unlikely"


def render_file(found: LabelledFile) -> str:
    """Return the labelled rows of a file as a table, as HTML."""
    return _render(
        "file",
        rows=[
            row | {"labels": [(name, _rounded(score)) for name, score in row["labels"]]}
            for row in table_rows(found)
        ],
        column=found.column,
        bad=[(each.number, each.explanation) for each in found.bad],
        more=found.more,
    )


def _describe_scores(config: Any) -> str:
    stored = ZLPRConfig.read(config)
    return describe_scores(
        Calibration.from_config(stored.calibration),
        stored.temperature,
        guarantee=Guarantee.from_config(stored.guarantee),
    )


def render_words(effects: WordEffects) -> str:
    """Return the whole text with the effects of its words as shades and numbers, as HTML."""
    largest = max(abs(effect) for _, effect in effects.pieces if effect is not None)
    pieces = [
        {"text": text, "effect": None}
        if effect is None
        else {
            "text": text,
            "effect": f"{effect:+.2f}".replace("-", "\N{MINUS SIGN}"),
            "raises": effect > 0,
            "share": abs(effect) / max(largest, FULL_SHADE),
        }
        for text, effect in effects.pieces
    ]
    return _render("words", effects=effects, logit=_signed(effects.logit), pieces=pieces)


@cache
def _parts() -> Any:
    environment = Environment(
        loader=PackageLoader("zlpr_hf", "inference"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("demo_answer.html.jinja").module


def _render(part: str, *values: Any, **named: Any) -> str:
    return str(getattr(_parts(), part)(*values, **named))


def _signed(value: float) -> str:
    digits = 2 if abs(value) >= 0.005 or value == 0 else 4
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _rounded(score: float) -> str:
    """Return three digits, but never 0 or 1: no score is exactly that."""
    if score < 0.0005:
        return "< 0.001"
    return f"{score:.3f}" if score < 0.9995 else "> 0.999"


def read_examples(name: str, *, revision: str | None = None) -> list[str]:
    """Return the texts in the ``widget`` entry of a model's card, if it has one."""
    path = Path(resolve_model_path(name))
    try:
        card: Path | str = path / "README.md"
        if not path.is_dir():
            card = hf_hub_download(name, "README.md", revision=revision)
        metadata = metadata_load(card) or {}
    except (OSError, ValueError, yaml.YAMLError):  # the page works without a card
        return []
    entries = metadata.get("widget")
    given = entries if isinstance(entries, list) else []
    texts = [each.get("text") for each in given if isinstance(each, dict)]
    return [text for text in texts if isinstance(text, str) and text.strip()]
