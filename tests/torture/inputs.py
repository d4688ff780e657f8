"""Inputs: tables with odd content in every format, and damage to files."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet

DELIMITERS = {".csv": ",", ".tsv": "\t"}
TEXTS = (
    "red", "a green fish", "", " ", 'say "hi", then go', "two\nlines", "cut\rhere", "a\x00b",
    "\x1b[31mred", "\u202eabc\u202c", "\u05e9\u05dc\u05d5\u05dd", "👩‍👩‍👧 é",
    "<script>alert(1)</script>", "=1+1", "x" * 3000, "\ufeffa", "a\u2028b\x85c\x0cd", "nan",
    "null", "{}", "[1]", '"', "'", ";", "\t", "-", "..",
)  # fmt: skip
LABELS = (
    "a", "A", "b", "b, c", "two\nlines", "<b>x</b>", "👍", "f1_micro", "eval_loss", "labels",
    "../../etc/passwd", "yes", "1", "nan", "null", "CON", ".", "x" * 300, " c ", "d;e", "\x00",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**63, 2**64, 10**400, 0.5, math.nan, math.inf, -100, [], {}, ["a"],
    [["a"]], [1, "a"], [None], {"a": 1}, {"a": {"b": []}}, "\ud800", [0.5, 1.0], "1" * 5000,
    [{"a": [{}]}], {"": ""},
)  # fmt: skip
TOKENS = (
    b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b"\x00", b"\xff",
    b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"[" * 2000, b"{", b"}", b"[", b"]", b":", b"\\",
    b"\\ud800", b"null", b"NaN", b"1e999", b"9" * 5000, b'{"a":' * 150, b'"text"', b"text,",
    b"&a ", b"*a", b"!!python/object/apply:os.system ", b"!!int ", b"!!timestamp ", b"<<: ",
    b"? ", b"- ", b"| ", b"2024-13-45", b"yes", b"0b_", b"%YAML 9.9\n", b"---\n", b"...\n",
    b"~", b"\x85", b"\xe2\x80\xa8",
)  # fmt: skip
ARROW: tuple[Callable[[], pa.Array], ...] = (
    lambda: pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("-2")]),
    lambda: pa.array([0, 2**62, -(2**62)], pa.timestamp("ns")),
    lambda: pa.array([0, 2**48, None], pa.timestamp("s")),
    lambda: pa.array([1, 2, None], pa.timestamp("us", tz="Nowhere/Else")),
    lambda: pa.array([datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)]),
    lambda: pa.array([1, None, 2], pa.duration("ns")),
    lambda: pa.array([1, None, 2], pa.time64("ns")),
    lambda: pa.array(["a", "b", None]).dictionary_encode(),
    lambda: pa.array([["a"], None, []]),
    lambda: pa.array([b"\xff", None, b""]),
    lambda: pa.array([b"ab", None, b"\xff\xfe"], pa.binary(2)),
    lambda: pa.nulls(3),
    lambda: pa.array([{"a": 1, "b": [None]}, None, {}]),
    lambda: pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    lambda: pa.array([1.0, None, math.nan]).cast(pa.float16()),
    lambda: pa.array([2**64 - 1, None, 0], pa.uint64()),
    lambda: pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    lambda: pa.array(["a", None, "b"], pa.large_string()),
    lambda: pa.array(["a", None, "b"], pa.string_view()),
    lambda: pa.StructArray.from_arrays([pa.array([1, 2, 3]), pa.array([4, 5, 6])], ["x", "x"]),
    lambda: pa.array([True, False, None]),
    lambda: pa.array([0, 1, 7]),
    lambda: pa.array([[0.5, 2.0], [], None]),
    lambda: pa.array([[[["a"]]], None, []]),
)
"""Columns of three rows for all types in Parquet."""


@dataclass(frozen=True)
class Input:
    """A file, with the values of its text column if they are known."""

    suffix: str
    content: bytes
    texts: list[Any] | None

    def count(self) -> int | None:
        """Count the rows with code other than the tested one; None if the count is undefined."""
        if self.texts is not None:
            return len(self.texts)
        if b"\xef\xbb\xbf".startswith(self.content):  # empty, or part of a byte order mark
            return 0
        if self.suffix == ".parquet":
            try:
                return int(pyarrow.parquet.ParquetFile(io.BytesIO(self.content)).metadata.num_rows)
            except Exception:  # a damaged file can raise any type
                return None
        text = self.content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        if self.content.startswith((b"\xff\xfe", b"\xfe\xff")):
            try:
                text = self.content.decode("utf-16")
            except UnicodeDecodeError:
                return None
        if self.suffix in DELIMITERS:
            lines = io.StringIO(text, newline="")
            try:
                records = list(csv.reader(lines, delimiter=DELIMITERS[self.suffix], strict=True))
            except csv.Error:
                return None
            if self.suffix == ".tsv" and len(records) != text.count("\n"):
                return None  # a quote may belong to the text, so that both readings are right
            alone = bool(records) and len(records[0]) == 1  # an empty line is an empty cell
            return sum(1 for record in records[1:] if record or alone)
        lines = io.StringIO(text, newline=None)
        return sum(1 for line in lines if self.suffix == ".txt" or line.strip())


def make_table(rng: random.Random, suffix: str) -> Input:
    """Write a mostly well-formed table of texts and labels with code other than the tested one."""
    names = rng.sample(LABELS, rng.choice((1, 2, 5)))
    rows: list[dict[str, Any]] = [
        {"text": rng.choice(TEXTS), "labels": [name for name in names if rng.random() < 0.5]}
        for _ in range(rng.choice((1, 2, 3, 8, 20)))
    ]
    texts = [row["text"] for row in rows]
    if suffix == ".txt":
        lines = [text for text in texts if not set(text) & set("\r\n\ufeff")]
        return Input(suffix, "".join(line + "\n" for line in lines).encode(), lines)
    if suffix in DELIMITERS:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=DELIMITERS[suffix], quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "labels", "x\ny"])
        writer.writerows([row["text"], ";".join(row["labels"]), ""] for row in rows)
        return Input(suffix, text.getvalue().encode(), texts)
    if suffix == ".jsonl":
        if rng.random() < 0.4:
            rng.choice(rows)[rng.choice(("text", "labels", "more"))] = rng.choice(VALUES)
        plain = rng.random() < 0.5
        lines = [json.dumps(row, ensure_ascii=plain) + "\n" for row in rows]
        content = "".join(lines).encode("utf-8", "surrogatepass")
        # A lone surrogate anywhere makes a row a bad one.
        texts = [None if r"\ud800" in str(row.values()) else row["text"] for row in rows]
        return Input(suffix, content, texts)
    table = pa.Table.from_pylist(rows)
    if rng.random() < 0.5:
        table = pa.table({"text": ["red", "", "a sea"], "labels": [["a"], ["b"], ["a", "b"]]})
        at, name = rng.choice(((0, "text"), (1, "labels"), (2, "more"), (2, "more")))
        columns = [*table.columns, None]
        columns[at] = rng.choice(ARROW)()
        table = pa.table(
            columns[: max(2, at + 1)], names=["text", "labels", name][: max(2, at + 1)]
        )
        texts = table.column("text").to_pylist() if at else None
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return Input(suffix, sink.getvalue(), texts)


def mutate(rng: random.Random, input: Input) -> Input:
    """Damage a file: change, remove or insert bytes, or write it in another encoding."""
    content = bytearray(input.content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randint(0, len(content))
        match rng.randrange(6):
            case 0 if at < len(content):
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                del content[at:]
            case 2:
                del content[at : at + rng.choice((1, 3, 40))]
            case 3:
                content[at:at] = content[at : at + rng.choice((1, 10, 200))]
            case 4:
                content[:0] = b"\xef\xbb\xbf"
            case _:
                content[at:at] = rng.choice(TOKENS)
    if rng.random() < 0.03:
        content = bytearray(content.decode("latin-1").encode("utf-16"))
    return Input(input.suffix, bytes(content), None)
