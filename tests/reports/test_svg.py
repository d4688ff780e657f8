"""Charts as XML: positions of the data, and escaped names."""

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from zlpr_hf.reports.svg import Dot, Line, Plot, render_chart

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>", '"quoted" \'twice\' & </svg>', "]]> <!-- x -->", "😀 emoji",
    "עברית العربية \u202e", "two\nlines\tand\r\ntab", "nul \x00 bell \x07 \ufffe",
    "x" * 300, "語" * 40,
]  # fmt: skip


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart.encode())


def texts(root: ElementTree.Element) -> list[str]:
    """Visible texts, without those that a pointer shows."""
    return [
        (node.text or "") + "".join(child.tail or "" for child in node)
        for node in root.iter(f"{SVG}text")
    ]


def points(path: ElementTree.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split())) for pair in path.attrib["d"][1:].split("L")]


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [node for node in root.iter() if name in node.get("class", "").split()]


def plot(*lines: Line, text: str = "T", **options: Any) -> Plot:
    return Plot(text, text, lines, text, text, **options)


def test_bars_are_proportional_to_their_values() -> None:
    root = parse(render_chart("bars", "A title", [("a", 0.0), ("b", 0.25), ("c", 1.0)]))
    full = {float(node.attrib["width"]) for node in of_class(root, "grid")}
    assert len(full) == 1
    lengths = [float(node.attrib["width"]) / min(full) for node in of_class(root, "fill0")]
    assert lengths == pytest.approx([0, 0.25, 1], abs=1e-3)
    assert texts(root) == ["A title", "a", "0.000", "b", "0.250", "c", "1.000"]
    assert root.attrib["aria-label"] == "A title. a 0.000, b 0.250, c 1.000"


def test_chart_without_bars_is_valid() -> None:
    assert texts(parse(render_chart("bars", "Nothing", []))) == ["Nothing"]


def test_lines_are_at_their_points() -> None:
    lines = [Line("first", [(-2, 0), (2, 1), (0, 0.5)], [Dot(0, 0.5, 3, "the middle")]),
             Line("second", [(-2, 1)])]  # fmt: skip
    root = parse(render_chart("lines", plot(*lines, x_range=(-2, 2), marker=0.0, diagonal=True)))
    (diagonal, marker) = (points(node) for node in of_class(root, "aid"))
    (left, bottom), (right, top) = diagonal
    assert left < right
    assert top < bottom  # down is positive
    middle = ((left + right) / 2, (top + bottom) / 2)
    assert points(of_class(root, "line0")[0]) == [(left, bottom), (right, top), middle]
    assert points(of_class(root, "line1")[0]) == [(left, top)]
    assert [x for x, _ in marker] == [middle[0]] * 2
    (dot,) = root.iter(f"{SVG}circle")
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == middle
    assert dot.find(f"{SVG}title").text == "the middle"  # type: ignore[union-attr]
    assert {"first", "second", "-2", "0", "2", "0.2", "1"} <= set(texts(root))


def test_values_are_between_the_ends_of_the_axis() -> None:
    line = Line("loss", [(0, 4), (1, 2), (2, 0)])
    root = parse(render_chart("lines", plot(line, x_range=(0, 2), y_range=(0, 4), marker=1.0)))
    (_, top), middle, (_, bottom) = points(of_class(root, "line0")[0])
    assert points(of_class(root, "aid")[0]) == [(middle[0], bottom), (middle[0], top)]
    assert middle[1] == (top + bottom) / 2
    assert {"0", "1", "2", "3", "4"} <= set(texts(root))


@pytest.mark.parametrize("ends", [(0, 1), (-3, 3), (0, 0.037), (17, 12_345), (0.5, 0.9)])
def test_ticks_are_round_and_few(ends: tuple[float, float]) -> None:
    line = Line("name", [(ends[0], 0), (ends[1], 1)])
    ticks = plot(line, x_range=ends).ticks(*ends)
    assert 2 <= len(ticks) <= 7
    assert ends[0] <= ticks[0] < ticks[-1] <= ends[1]
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"


def test_long_legend_names_have_a_row_each() -> None:
    heights = {}
    for name in ("short", "a name that is far too long for half a chart"):
        line = Line(name, [(0, 0), (1, 1)])
        root = parse(render_chart("lines", plot(line, line)))
        heights[name] = {
            node.attrib["y"] for node in root.iter(f"{SVG}text") if name in (node.text or "")
        }
    assert [len(places) for places in heights.values()] == [1, 2]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_escaped(name: str) -> None:
    charts = [
        render_chart("bars", name, [(name, 0.5)]),
        render_chart("lines", plot(Line(name, [(0, 0)], [Dot(0, 0, 3, name)]), text=name)),
    ]
    allowed = {"svg", "style", "rect", "text", "title", "path", "circle", "g"}
    shown = re.sub("[\x00\x07\ufffe]", "\ufffd", " ".join(name.split()))
    for chart in charts:
        root = parse(chart)
        assert {node.tag.removeprefix(SVG) for node in root.iter()} <= allowed
        assert texts(root)[0] == shown
        assert root.attrib["aria-label"].startswith(shown)
        assert not [key for node in root.iter() for key in node.attrib if key.startswith("on")]


def test_long_names_are_shortened_with_a_full_title() -> None:
    name = "a very long name of a label that has no room beside its bar"
    shown, wide = (parse(render_chart("bars", "T", [(label, 0.5)])) for label in (name, "語" * 30))
    label = list(shown.iter(f"{SVG}text"))[1]
    assert label.find(f"{SVG}title").text == name  # type: ignore[union-attr]
    assert texts(shown)[1].endswith("…")
    assert name.startswith(texts(shown)[1][:-1])
    assert len(texts(wide)[1]) < len(texts(shown)[1])  # these letters are twice as wide


def test_chart_refers_to_no_other_file() -> None:
    chart = render_chart("bars", "T", [("a", 1.0)])
    root = parse(chart)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"
    assert of_class(root, "paper")
    assert not re.search("href|url|@import|var\\(", chart)
    assert "prefers-color-scheme:dark" in chart


def luminance(colour: str) -> float:
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_have_enough_contrast() -> None:
    style = render_chart("bars", "T", [("a", 1.0)])
    for scheme in style.partition("</style>")[0].split("prefers-color-scheme:dark"):
        paper, ink, soft = (
            re.search(rf"\.{name}{{fill:(#\w{{6}})}}", scheme)[1]  # type: ignore[index]
            for name in ("paper", "ink", "soft")
        )
        lines = re.findall(r"\.line\d{stroke:(#\w{6})}", scheme)
        assert len(lines) == 5
        assert min(contrast(colour, paper) for colour in (ink, soft)) >= 4.5
        assert min(contrast(colour, paper) for colour in lines) >= 3
