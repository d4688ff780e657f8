"""Charts as XML: what is drawn where, and that nothing in a name becomes part of the markup."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from zlpr_hf.reports.svg import (
    DARK,
    DARK_LINES,
    LIGHT,
    LIGHT_LINES,
    MAX_SHADE,
    Line,
    render_bars,
    render_heat_map,
    render_lines,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>", '"quoted" \'twice\' & </svg>', "]]> <!-- x -->", "😀 emoji",
    "עברית العربية \u202e", "two\nlines\tand\r\ntab", "nul \x00 bell \x07 \ufffe",
    "x" * 300, "語" * 40,
]  # fmt: skip


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart.encode())


def texts(root: ElementTree.Element) -> list[str]:
    """What is shown, without what only a pointer reads."""
    return [
        (node.text or "") + "".join(child.tail or "" for child in node)
        for node in root.iter(f"{SVG}text")
    ]


def points(path: ElementTree.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split())) for pair in path.attrib["d"][1:].split("L")]


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [node for node in root.iter() if name in node.get("class", "").split()]


def test_bars_are_as_long_as_their_values() -> None:
    root = parse(render_bars("A title", [("a", 0.0), ("b", 5.0), ("c", 20.0), ("d", 30.0)],
                             maximum=20.0))  # fmt: skip
    full = {float(node.attrib["width"]) for node in of_class(root, "grid")}
    assert len(full) == 1
    lengths = [float(node.attrib["width"]) / min(full) for node in of_class(root, "fill0")]
    assert lengths == pytest.approx([0, 0.25, 1, 1], abs=1e-3)
    assert texts(root) == ["A title", "a", "0.000", "b", "5.000", "c", "20.000", "d", "30.000"]


def test_no_bars() -> None:
    assert texts(parse(render_bars("Nothing", []))) == ["Nothing"]


def test_lines_are_where_their_points_are() -> None:
    lines = [Line("first", [(-2, 10), (2, 20), (0, 15)], [(0, 15, 3, "the middle")]),
             Line("second", [(-2, 20)])]  # fmt: skip
    root = parse(
        render_lines(
            "T", lines, x_label="across", y_label="up", x_range=(-2, 2), y_range=(10, 20),
            marker=0.0, diagonal=True,
        )
    )  # fmt: skip
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
    assert {"across", "up", "first", "second", "-2", "0", "2", "10", "20"} <= set(texts(root))


@pytest.mark.parametrize("ends", [(0, 1), (-3, 3), (0, 0.037), (17, 12_345), (0.5, 0.9)])
def test_ticks_are_round_and_few(ends: tuple[float, float]) -> None:
    line = Line("name", [(ends[0], 0), (ends[1], 1)])
    root = parse(render_lines("T", [line], x_label="", y_label="", x_range=ends))
    below = [node for node in of_class(root, "soft") if "middle" in node.attrib["class"]]
    ticks = [float(node.text or "nan") for node in below]
    assert 2 <= len(ticks) <= 7
    assert ends[0] <= ticks[0] < ticks[-1] <= ends[1]
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"


def test_long_names_of_lines_have_a_row_each() -> None:
    heights = {}
    for name in ("short", "a name that is far too long for half a chart"):
        line = Line(name, [(0, 0), (1, 1)])
        root = parse(render_lines("T", [line, line], x_label="", y_label=""))
        heights[name] = {
            node.attrib["y"] for node in root.iter(f"{SVG}text") if name in (node.text or "")
        }
    assert [len(places) for places in heights.values()] == [1, 2]


def test_squares_are_as_deep_as_their_shares() -> None:
    shares, notes = [[1.0, 0.25], [0.5, 0.0]], [["a", "b"], ["c", "d"]]
    root = parse(render_heat_map("T", ["one", "two"], shares, notes))
    cells = of_class(root, "heat")
    depths = [float(node.attrib["fill-opacity"]) / MAX_SHADE for node in cells]
    assert depths == pytest.approx([1, 0.25, 0.5, 0], abs=0.02)
    places = [(float(node.attrib["y"]), float(node.attrib["x"])) for node in cells]
    assert places == sorted(places)  # row by row
    assert [node.text for node in root.iter(f"{SVG}title")] == ["a", "b", "c", "d"]
    assert texts(root)[-4:] == ["100", "25", "50", "0"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name: str) -> None:
    charts = [
        render_bars(name, [(name, 0.5)]),
        render_lines(name, [Line(name, [(0, 0)], [(0, 0, 3, name)])], x_label=name, y_label=name),
        render_heat_map(name, [name], [[0.5]], [[name]]),
    ]
    allowed = {"svg", "style", "rect", "text", "title", "path", "circle", "g"}
    shown = re.sub("[\x00\x07\ufffe]", "\ufffd", " ".join(name.split()))
    for chart in charts:
        root = parse(chart)
        assert {node.tag.removeprefix(SVG) for node in root.iter()} <= allowed
        assert texts(root)[0] == shown
        assert not [key for node in root.iter() for key in node.attrib if key.startswith("on")]


def test_long_names_are_shortened_and_can_be_read_whole() -> None:
    name = "a very long name of a label that has no room beside its bar"
    shown, wide = (parse(render_bars("T", [(label, 0.5)])) for label in (name, "語" * 30))
    label = list(shown.iter(f"{SVG}text"))[1]
    assert label.find(f"{SVG}title").text == name  # type: ignore[union-attr]
    assert texts(shown)[1].endswith("…")
    assert name.startswith(texts(shown)[1][:-1])
    assert len(texts(wide)[1]) < len(texts(shown)[1])  # these letters are twice as wide


def test_charts_stand_alone() -> None:
    chart = render_bars("T", [("a", 1.0)])
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


@pytest.mark.parametrize(("colours", "lines"), [(LIGHT, LIGHT_LINES), (DARK, DARK_LINES)])
def test_colours_stand_out(colours: dict[str, str], lines: tuple[str, ...]) -> None:
    paper = colours["paper"]
    shades = [
        (1 - MAX_SHADE) * int(paper[i : i + 2], 16)
        + MAX_SHADE * int(colours["heat"][i : i + 2], 16)
        for i in (1, 3, 5)
    ]
    deep = "#" + "".join(f"{round(shade):02x}" for shade in shades)
    assert contrast(colours["ink"], deep) >= 4.5
    assert min(contrast(colours[name], paper) for name in ("ink", "soft")) >= 4.5
    assert min(contrast(line, paper) for line in lines) >= 3
