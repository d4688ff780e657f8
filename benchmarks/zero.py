"""The picture of zero: one text, the logits of its labels, and the line between yes and no.

Run: python -m benchmarks.zero out/reviews   # the tutorial's model: store its logits and draw them
     python -m benchmarks.zero               # draw the stored logits
"""

import html
import json
import sys
from pathlib import Path

from benchmarks.output import save

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
PICTURE = REPOSITORY / "docs" / "zero.svg"
TEXT = "Cheap, but the handle broke after a week."

WIDTH, ZERO, ROW, TOP, FULL = 760, 440, 32, 78, 248
"""Widths and heights in pixels: picture, x of the zero line, row, first bar, longest bar."""
STYLE = """
text{font:15px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;fill:#1b2430}
.b{font-weight:600}.s{font-size:13px;fill:#56616f}
.paper{fill:#f6f8fa}.yes{fill:#0b62a8}.no{fill:#b4bfca}line{stroke:#1b2430;stroke-width:1.5}
@media(prefers-color-scheme:dark){text{fill:#e6ebf1}.s{fill:#9aa7b5}
.paper{fill:#151b23}.yes{fill:#5cb3f0}.no{fill:#47525f}line{stroke:#e6ebf1}}
"""


def measure(model: str) -> dict[str, float]:
    """Return the logits of the text, highest first."""
    from zlpr_hf import Classifier

    classifier = Classifier.load(model)
    logits = classifier.compute_logits([TEXT])[0].tolist()
    pairs = zip(classifier.label_space.names, logits, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def render(text: str, logits: dict[str, float]) -> str:
    """Draw one bar per label: to the right of zero if the label is predicted."""
    bottom = TOP + ROW * len(logits)
    height = bottom + 30
    scale = FULL / max(abs(value) for value in logits.values())
    said = ", ".join(f"{name} {value:+.1f}" for name, value in logits.items())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(text)} Logits: {html.escape(said)}"><style>{STYLE}</style>',
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>',
        f'<text class="b" x="20" y="34">\u201c{html.escape(text, quote=False)}\u201d</text>',
        f'<text class="s" x="{ZERO - 8}" y="62" text-anchor="end">does not apply</text>',
        f'<text class="s" x="{ZERO + 8}" y="62">applies</text>',
    ]
    for row, (name, value) in enumerate(logits.items()):
        parts.append(_bar(TOP + ROW * row, name, value, abs(value) * scale))
    parts += [
        f'<line x1="{ZERO}" x2="{ZERO}" y1="48" y2="{bottom - 4}"/>',
        f'<text class="s" x="{ZERO}" y="{bottom + 14}" text-anchor="middle">'
        "0: the only threshold, the same for every label and model</text>",
    ]
    return "\n".join([*parts, "</svg>\n"])


def _bar(y: int, name: str, value: float, length: float) -> str:
    applies = value > 0
    start = ZERO if applies else ZERO - length
    end, anchor = (start + length + 8, "start") if applies else (start - 8, "end")
    shown = f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
    mark = "\N{CHECK MARK}" if applies else ""
    return (
        f'<text class="b" x="40" y="{y + 13}">{mark}</text>'
        f'<text class="{"b" if applies else "s"}" x="62" y="{y + 13}">{html.escape(name)}</text>'
        f'<rect class="{"yes" if applies else "no"}" x="{start:.1f}" y="{y}" '
        f'width="{length:.1f}" height="16" rx="3"/>'
        f'<text class="s" x="{end:.1f}" y="{y + 13}" text-anchor="{anchor}">{shown}</text>'
    )


def main() -> None:
    if sys.argv[1:]:
        found = {"text": TEXT, "model": sys.argv[1], "logits": measure(sys.argv[1])}
        save("zero", found, folder=RESULTS)
    stored = json.loads((RESULTS / "zero.json").read_text(encoding="utf-8"))
    PICTURE.write_text(render(stored["text"], stored["logits"]), encoding="utf-8")


if __name__ == "__main__":
    main()
