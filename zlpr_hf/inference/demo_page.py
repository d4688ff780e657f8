"""The page of ``zlpr demo``: labels against the zero line, and which words mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import yaml
from huggingface_hub import hf_hub_download, metadata_load
from jinja2 import Environment, PackageLoader

from zlpr_hf.errors import InputError
from zlpr_hf.inference.attribution import WordEffects, measure_words
from zlpr_hf.inference.classifier import Classifier
from zlpr_hf.inference.windows import split_into_windows
from zlpr_hf.metrics.calibration import Calibration, describe_scores
from zlpr_hf.models.paths import resolve_model_path
from zlpr_hf.thresholds import MAX_LOGIT_THRESHOLD, compute_scores, decide
from zlpr_hf.zlpr_config import ZLPRConfig

if TYPE_CHECKING:
    import gradio

MAX_LABELS_SHOWN = 1000
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
}
"""Arguments of ``launch``: nothing leaves the machine, nothing is recorded."""


def build_demo(
    classifier: Classifier, *, title: str, examples: Sequence[str] = ()
) -> gradio.Blocks:
    """Build the page of a model; serve it with ``launch(**LAUNCH)``."""
    import gradio

    gr: Any = gradio  # its components get their methods at run time
    names = classifier.label_space.names
    lock = Lock()  # a fast tokenizer must not be used by two threads at a time

    def classify(text: str) -> tuple[Any, ...]:
        if not text.strip():
            hint = _render("note", text="There is no text yet: type one, then press Enter.")
            return hint, "", gr.update(), "", gr.update(visible=False)
        try:
            with lock:
                logits = classifier.compute_logits([(text,)])
                answer = render_answer(classifier, text, logits)
        except InputError as error:
            note = _render("note", text=str(error))
            return note, "", gr.update(), "", gr.update(visible=False)
        best = gr.update(value=names[int(logits[0].argmax())])
        return answer, text, best, "", gr.update(visible=True)

    def explain(text: str, label: str) -> str:
        try:
            with lock:
                return render_words(measure_words(classifier, text, label))
        except InputError as error:
            return _render("note", text=str(error))

    limits = classifier.thresholds
    length = f"{classifier.tokenizer.model_max_length:,} tokens"
    windows = classifier.long_texts != "cut" and classifier.tokenizer.is_fast
    longer = "are read in windows that overlap" if windows else "are cut"
    private = {"api_visibility": "private"}
    plain = {"apply_default_css": False, "js_on_load": None}
    shown = plain | {"html_template": '<div aria-live="polite">${value}</div>'}
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        head = _render("head", title, len(names), most=limits.max_labels, least=limits.min_labels)
        gr.HTML(head, **plain)
        box = gr.Textbox(
            label="Text",
            info=f"Enter classifies, Shift+Enter starts a line. Texts over {length} {longer}.",
            # With one line, which grows, Enter submits.
            lines=1,
            max_lines=15,
            elem_classes="zlpr-text",
        )
        button = gr.Button("Classify", variant="primary")
        answer = gr.HTML(**shown)
        asked = gr.State("")
        with gr.Column(visible=False) as why:
            label = gr.Dropdown(
                list(names),
                label="For which label?",
                filterable=len(names) > 15,
                elem_classes="zlpr-label",
            )
            why_button = gr.Button("Which words mattered?")
            words = gr.HTML(**shown)
        outputs = [answer, asked, label, words, why]
        if examples:
            gr.Examples(
                [[text] for text in examples],
                box,
                outputs,
                classify,
                run_on_click=True,
                cache_examples=False,
                **private,
            )
        gr.on([box.submit, button.click], classify, box, outputs, **private)
        why_button.click(explain, [asked, label], words, **private)
    return cast("gradio.Blocks", page)


def render_answer(classifier: Classifier, text: str, logits: Any) -> str:
    """Return the predicted and the other labels of a text with logits ``(1, L)``, as HTML."""
    predictions = classifier.decide(logits)[0]
    sizes = np.minimum(np.abs(logits[0].astype(float)), MAX_LOGIT_THRESHOLD)  # may be infinite
    limit = max(1, math.ceil(sizes.max()))
    rows = [
        {
            "label": classifier.label_space.names[index],
            "predicted": bool(predictions[index]),
            "positive": bool(decide(logits[0, index])),
            "length": 50 * sizes[index] / limit,
            "logit": _signed(logits[0, index]),
            "score": _rounded(float(compute_scores(logits[0, index]))),
        }
        for index in np.argsort(-logits[0], kind="stable")
    ]
    others = [row for row in rows if not row["predicted"]]
    rule = classifier.long_texts
    windows, _ = split_into_windows(classifier.tokenizer, [(text,)], cut=rule == "cut")
    return _render(
        "answer",
        predicted=[row for row in rows if row["predicted"]],
        others=others[:MAX_LABELS_SHOWN],
        left_out=len(others[MAX_LABELS_SHOWN:]),
        limit=limit,
        windows=len(windows),
        rule=rule,
        is_long=classifier.count_long([(text,)]) > 0,
        window=classifier.tokenizer.model_max_length,
        about_scores=_describe_scores(classifier.model.config),
    )


def _describe_scores(config: Any) -> str:
    stored = ZLPRConfig.read(config)
    return describe_scores(Calibration.from_config(stored.calibration), stored.temperature)


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
