"""Charts as SVG: the data of a chart, and the templates that draw it in charts.svg.jinja."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

# XML 1.0 does not allow these characters, not even as an entity.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_TICKS = 7


class Dot(NamedTuple):
    """A marked point of a curve; its meaning is shown when a pointer rests on it."""

    x: float
    y: float
    radius: float
    meaning: str


@dataclass(frozen=True)
class Line:
    """A curve: its name in the legend, and its points in the order in which they are joined."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: Sequence[Dot] = ()


@dataclass(frozen=True)
class Plot:
    """One to five curves.

    ``description`` is the text alternative of the curves. ``diagonal`` draws a dotted line from the
    lower left to the upper right corner, ``marker`` a dotted vertical line. ``whole_x`` marks
    whole numbers only.
    """

    title: str
    description: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)
    diagonal: bool = False
    marker: float | None = None
    whole_x: bool = False

    def ticks(self, low: float, high: float, *, whole: bool = False) -> list[float]:
        """Return round numbers on an axis, at most seven."""
        powers = range(0 if whole else -6, 12)
        steps = (digit * 10.0**power for power in powers for digit in (1, 2, 5))
        step = next(step for step in steps if (high - low) / step <= MAX_TICKS - 1 + 1e-9)
        first, end = -int(-low // step), high + 1e-9 * (high - low)
        ticks = (round(k * step, 9) for k in range(first, first + MAX_TICKS + 1))
        return [tick for tick in ticks if tick <= end]


def html_environment() -> Environment:
    """Return the environment of the templates for HTML and SVG; everything is escaped."""
    environment = Environment(
        loader=PackageLoader("zlpr_hf", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clean": _clean, "shorten": _shorten, "values": _values}
    return environment


def render_chart(macro: str, *arguments: Any) -> str:
    """Draw ``bars`` with values from 0 to 1 (title, rows), or the ``lines`` of a :class:`Plot`."""
    template = html_environment().get_template("charts.svg.jinja")
    return str(getattr(template.module, macro)(*arguments))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", " ".join(text.split()))


def _values(rows: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{label} {value:.3f}" for label, value in rows)


def _shorten(text: str, width: int) -> str:
    """Cut a text to the width of that many letters; those of East Asia are twice as wide."""
    used = 0
    for index, sign in enumerate(text):
        used += 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        if used > width:
            return text[: index - 1].rstrip() + "…"
    return text
