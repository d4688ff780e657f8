"""Small charts as SVG: files of their own, or part of a page, in light and in dark."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 400
"""Of bars and lines: on a phone their text is still large enough to read."""

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Liberation Sans',sans-serif"
# Each colour stands out from its background by 3 to 1 or more, text by 4.5 to 1, and lines differ
# by their dashes too. No variables of CSS: some viewers of SVG files do not know them.
LIGHT = {
    "paper": "#ffffff", "ink": "#1b2430", "soft": "#56616f", "grid": "#dde2e8", "heat": "#0b62a8",
}  # fmt: skip
LIGHT_LINES = ("#0b62a8", "#c2410c", "#00795a", "#8a3f8f", "#6b5b00")
DARK = {
    "paper": "#151b23", "ink": "#e6ebf1", "soft": "#9aa7b5", "grid": "#303945", "heat": "#2a7fc4",
}  # fmt: skip
DARK_LINES = ("#5cb3f0", "#ff9457", "#3ed6a7", "#dd9be0", "#e3cf57")
DASHES = ("none", "7 3", "2 3", "9 3 2 3", "5 5")
MAX_SHADE = 0.7
"""Opacity of a full cell of a heat map: its number is readable on all of them."""

# What XML 1.0 does not allow, not even as an entity.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Line:
    """A curve of a chart.

    Args:
        name: What the legend says.
        points: ``(x, y)``, in the order in which they are joined.
        dots: ``(x, y, radius, what it is)`` of points to be seen; a pointer reads what they are.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dots: Sequence[tuple[float, float, float, str]] = ()


def render_bars(title: str, rows: Sequence[tuple[str, float]], *, maximum: float = 1.0) -> str:
    """Draw horizontal bars, one a row, with label and value.

    Args:
        title: Above the chart.
        rows: Label and value, from above; long labels are shortened, a pointer reads them whole.
        maximum: Value of a bar of full length; values outside 0 and this are cut to it.

    Returns:
        SVG that stands alone.

    Example:
        >>> render_bars("F1", [("red", 0.5)]).count("<rect")
        3
    """
    left, right, top, step = 142, 54, 40, 24
    full = WIDTH - left - right
    parts = []
    for index, (label, value) in enumerate(rows):
        y = top + step * index
        length = full * min(max(value / maximum, 0.0), 1.0)
        parts.append(
            _text(left - 10, y + 14, label, "ink end", width=19)
            + f'<rect class="grid" x="{left}" y="{y + 3}" width="{full}" height="14" rx="3"/>'
            f'<rect class="fill0" x="{left}" y="{y + 3}" width="{length:.1f}" height="14" rx="3"/>'
            + _text(WIDTH - 12, y + 14, f"{value:.3f}", "ink end")
        )
    return _svg(title, WIDTH, top + step * len(rows) + 10, parts)


def render_lines(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] = (0.0, 1.0),
    diagonal: bool = False,
    marker: float | None = None,
) -> str:
    """Draw curves over two axes, with a legend below.

    Args:
        title: Above the chart.
        lines: Up to five curves.
        x_label: Below the horizontal axis.
        y_label: Above the vertical one.
        x_range: Ends of the horizontal axis.
        y_range: Ends of the vertical axis.
        diagonal: Whether to draw the line from the lower left to the upper right corner.
        marker: Where to draw a vertical line.

    Returns:
        SVG that stands alone.

    Example:
        >>> chart = render_lines("A", [Line("b", [(0, 0), (1, 1)])], x_label="x", y_label="y")
        >>> 'd="M44.0 260.0L384.0 60.0"' in chart
        True
    """
    left, right, top, bottom = 44, WIDTH - 16, 60, 260

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def path(points: Sequence[tuple[float, float]], names: str) -> str:
        places = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in points)
        return f'<path class="{names}" d="M{places}"/>' if points else ""

    parts = [_text(12, 48, y_label, "soft"), _text(right, bottom + 36, x_label, "soft end")]
    for y in _ticks(*y_range):
        height = place(x_range[0], y)[1]
        parts.append(path([(x_range[0], y), (x_range[1], y)], "rule"))
        parts.append(_text(left - 8, height + 4, f"{y:g}", "soft end"))
    for x in _ticks(*x_range):
        parts.append(_text(place(x, y_range[0])[0], bottom + 18, f"{x:g}", "soft middle"))
    if diagonal:
        parts.append(path([(x_range[0], y_range[0]), (x_range[1], y_range[1])], "aid"))
    if marker is not None:
        parts.append(path([(marker, y_range[0]), (marker, y_range[1])], "aid"))
    columns = 2 if all(len(line.name) <= 20 for line in lines) else 1
    for index, line in enumerate(lines):
        parts.append(path(line.points, f"line line{index}"))
        for x, y, radius, what in line.dots:
            across, down = place(x, y)
            parts.append(
                f'<circle class="fill{index}" cx="{across:.1f}" cy="{down:.1f}" '
                f'r="{radius:.1f}"><title>{_escape(what)}</title></circle>'
            )
        x, y = 12 + index % columns * WIDTH / columns, bottom + 62 + 22 * (index // columns)
        parts.append(f'<path class="line line{index}" d="M{x:.0f} {y - 4}h30"/>')
        parts.append(_text(x + 38, y, line.name, "ink", width=48 if columns == 1 else 20))
    return _svg(title, WIDTH, bottom + 52 + 22 * -(-len(lines) // columns), parts)


def render_heat_map(
    title: str,
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    notes: Sequence[Sequence[str]],
) -> str:
    """Draw a square of shares in per cent, the darker the larger.

    Args:
        title: Above the chart.
        names: Of the rows, and of the columns.
        values: Shares from 0 to 1, row by row.
        notes: What a pointer that rests on a cell reads.

    Returns:
        SVG that stands alone.

    Example:
        >>> "60" in render_heat_map("Both", ["red"], [[0.6]], [["3 of 5"]])
        True
    """
    left, top, cell = 154, 142, 28
    width = max(left + cell * len(names) + 70, len(title) * 9)
    parts = []
    for index, name in enumerate(names):
        middle = cell * index + cell / 2
        x, y = left + middle + 4, top - 8
        turned = f'transform="rotate(-50 {x:.1f} {y})"'
        parts.append(_text(left - 8, top + middle + 4, name, "ink end", width=22))
        parts.append(_text(x, y, name, "ink", width=20, more=turned))
    for row, (shares, said) in enumerate(zip(values, notes, strict=True)):
        for column, (share, note) in enumerate(zip(shares, said, strict=True)):
            x, y = left + cell * column, top + cell * row
            parts.append(
                f'<g><title>{_escape(note)}</title><rect class="grid" x="{x + 1}" y="{y + 1}" '
                f'width="{cell - 2}" height="{cell - 2}" rx="3" fill-opacity="0.35"/>'
                f'<rect class="heat" x="{x + 1}" y="{y + 1}" width="{cell - 2}" '
                f'height="{cell - 2}" rx="3" fill-opacity="{MAX_SHADE * share:.2f}"/>'
                + _text(x + cell / 2, y + cell / 2 + 4, f"{100 * share:.0f}", "ink middle small")
                + "</g>"
            )
    return _svg(title, width, top + cell * len(names) + 10, parts)


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="zlpr-chart" {size} role="img" '
        f'aria-label="{_escape(title)}"><style>{_STYLE}</style>'
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>'
        + _text(12, 24, title, "ink title")
        + "".join(parts)
        + "</svg>\n"
    )


def _text(
    x: float, y: float, text: str, names: str, *, width: int | None = None, more: str = ""
) -> str:
    """Text at a place; where it is wider than ``width`` letters, its beginning."""
    text = " ".join(text.split())
    shown = text if width is None else _shorten(text, width)
    whole = "" if shown == text else f"<title>{_escape(text)}</title>"
    return f'<text class="{names}" x="{x:.1f}" y="{y:.1f}" {more}>{whole}{_escape(shown)}</text>'


def _shorten(text: str, width: int) -> str:
    used = 0
    for index, sign in enumerate(text):
        used += 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        if used > width:
            return text[: index - 1].rstrip() + "…"
    return text


def _escape(text: str) -> str:
    return html.escape(_FORBIDDEN.sub("\ufffd", text))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers on an axis, at most seven."""
    span = high - low
    step = next(s for power in range(-6, 12) for s in _steps(power) if span / s <= 6 + 1e-9)
    first = -int(-low // step)
    return [round(k * step, 9) for k in range(first, first + 8) if k * step <= high + 1e-9 * span]


def _steps(power: int) -> tuple[float, ...]:
    return tuple(digit * 10.0**power for digit in (1, 2, 5))


def _rules(colours: dict[str, str], lines: Sequence[str]) -> str:
    rules = [f".zlpr-chart .{name}{{fill:{colours[name]}}}" for name in ("paper", "grid", "heat")]
    rules += [f".zlpr-chart text.{name}{{fill:{colours[name]}}}" for name in ("ink", "soft")]
    rules += [f".zlpr-chart .rule{{stroke:{colours['grid']}}}"]
    rules += [f".zlpr-chart .aid{{stroke:{colours['soft']}}}"]
    for index, colour in enumerate(lines):
        rules.append(f".zlpr-chart .line{index}{{stroke:{colour}}}")
        rules.append(f".zlpr-chart .fill{index}{{fill:{colour}}}")
    return "".join(rules)


_STYLE = (
    f".zlpr-chart{{max-width:100%;height:auto}}.zlpr-chart text{{font:13px {FONT}}}"
    ".zlpr-chart text.title{font-size:15px;font-weight:600}.zlpr-chart text.small{font-size:11px}"
    ".zlpr-chart .end{text-anchor:end}.zlpr-chart .middle{text-anchor:middle}"
    ".zlpr-chart path{fill:none}.zlpr-chart .line{stroke-width:2.2;stroke-linejoin:round}"
    ".zlpr-chart .aid{stroke-dasharray:3 4}"
    + "".join(
        f".zlpr-chart .line{index}{{stroke-dasharray:{dash}}}" for index, dash in enumerate(DASHES)
    )
    + _rules(LIGHT, LIGHT_LINES)
    + f"@media(prefers-color-scheme:dark){{{_rules(DARK, DARK_LINES)}}}"
)
