"""The table of docs/models.md, from results/models.json."""

import json
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.output import markdown_table

RESULTS = Path(__file__).parents[1] / "results" / "models.json"
SUFFIX = "ForSequenceClassification"
YES = "yes"
WITH_NOTE = "yes, but "
"""Begins the line of a capability that a class has with a reservation."""
COLUMNS = {
    "trains": "trains",
    "reloads": "reloads",
    "batch": "batch",
    "padding": "padding",
    "offsets": "offsets",
    "lora": "LoRA",
    "windows": "windows",
    "exports": "ONNX",
}


def read_models() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return content


def is_met(line: str | None) -> bool:
    """Whether the line of a check stands for a capability, with or without a reservation."""
    return line is not None and (line == YES or line.startswith(WITH_NOTE))


def render_summary() -> str:
    """Return two sentences: how many classes have all capabilities, and each single one."""
    content = read_models()
    classes = [entry["checks"] for entry in content["classes"].values()]
    complete = sum(
        all(is_met(checks.get(name)) for name in COLUMNS if name != "exports" or name in checks)
        for checks in classes
    )
    added = sum(str(checks.get("offsets")).startswith(WITH_NOTE) for checks in classes)
    counts = ", ".join(
        f"{title} {sum(is_met(checks.get(name)) for checks in classes)}"
        for name, title in COLUMNS.items()
        if name != "exports"
    )
    exported = [checks["exports"] for checks in classes if "exports" in checks]
    text = (
        f"Of {len(classes)} classes of transformers {content['transformers']}, {complete} have "
        f"every capability that was checked. Per capability: {counts}; {added} hold offsets in a "
        f"bias that is added to the head. Export to ONNX was tried for {len(exported)} classes: "
        f"{sum(map(is_met, exported))} have the same logits there. These checks took "
        f"{content['cpu_seconds'] / 60:.0f} minutes of CPU time."
    )
    return textwrap.fill(text, 125, break_on_hyphens=False)


def render_table() -> str:
    """Return a table of classes and capabilities, with the limits as numbered notes."""
    classes = read_models()["classes"]
    notes: dict[str, int] = {}
    rows = []
    for name, entry in classes.items():
        row = [f"{name.removesuffix(SUFFIX)} (`{entry['model_type']}`)"]
        for capability in COLUMNS:
            line = entry["checks"].get(capability)
            if line is None:
                row.append("-")
            elif line == YES:
                row.append("yes")
            else:
                word = "yes " if is_met(line) else ""
                line = line.removeprefix(WITH_NOTE)
                row.append(f"{word}({notes.setdefault(line, len(notes) + 1)})")
        rows.append(row)
    table = markdown_table(["class", *COLUMNS.values()], rows, texts=1 + len(COLUMNS))
    numbered = "\n".join(f"* ({number}) {_as_text(line)}" for line, number in notes.items())
    return f"{table}\n\nLimits:\n\n{numbered}"


def _as_text(line: str) -> str:
    """Return a message so that Markdown shows it as it is."""
    return line.replace("\\", "\\\\").replace("`", "\\`").replace("*", "\\*").replace("_", "\\_")


BLOCKS = {"models_summary": render_summary, "models": render_table}
