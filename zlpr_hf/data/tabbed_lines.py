"""Records of tab-separated lines, whether or not their cells are quoted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

MAX_SPANNED_LINES = 1000
"""Lines that one quoted cell may span."""


def read_tabbed_lines(
    lines: Iterable[str], delimiter: str
) -> Iterator[tuple[int, list[str], list[str]]]:
    r"""Yield the number of the first line, the cells and the lines of each record.

    A cell is quoted only if it opens and closes with quotes and doubles those inside; other quotes
    belong to the text. A quoted cell spans lines only if none of them is a row by itself, so that
    no quote can swallow a row.

    Example:
        >>> lines = ['a\tb\n', '"red dog\tx\n', '"so ""it"" is"\ty\n', '"two\n', 'lines"\tz\n']
        >>> [cells for _, cells, _ in read_tabbed_lines(lines, "\t")][1:]
        [['"red dog', 'x'], ['so "it" is', 'y'], ['two\nlines', 'z']]
    """
    source = iter(lines)
    held: list[str] = []  # lines that were read ahead
    number, width = 0, 0

    def next_line() -> str | None:
        return held.pop(0) if held else next(source, None)

    while (line := next_line()) is not None:
        number += 1
        cells = _split(line, delimiter)
        width = width or len(cells)
        taken = [line]
        is_short = len(cells) != width or _is_open(cells[-1])
        if width > 1 and is_short and any(map(_is_open, cells)):
            ahead = _lines_of_open_cell(taken, next_line, delimiter, width)
            if ahead is None:
                held[:0] = taken[1:]
                del taken[1:]
            else:
                cells = ahead
        yield number, [_unquote(cell) for cell in cells] if line.strip("\r\n") else [], taken
        number += len(taken) - 1


def _lines_of_open_cell(
    taken: list[str], next_line: Callable[[], str | None], delimiter: str, width: int
) -> list[str] | None:
    """Read on to the line that closes a quoted cell; return the cells, None if none does."""
    cells = _split_quoted(taken[0], delimiter)
    if cells is not None:  # a delimiter inside quotes
        return cells if len(cells) == width else None
    while len(taken) < MAX_SPANNED_LINES:
        line = next_line()
        if line is None:
            return None
        taken.append(line)
        if len(_split(line, delimiter)) == width and not _closes(line, delimiter):
            return None
        cells = _split_quoted("".join(taken), delimiter)
        if cells is not None:
            return cells if len(cells) == width else None
    return None


def _closes(line: str, delimiter: str) -> bool:
    """Whether a line has a quote before a delimiter or at its end, without opening one there."""
    first = _split(line, delimiter)[0]
    return first == '"' or (first.endswith('"') and not first.startswith('"'))


def _split(line: str, delimiter: str) -> list[str]:
    return line.rstrip("\r\n").split(delimiter)


def _split_quoted(text: str, delimiter: str) -> list[str] | None:
    """Split by the rules of CSV; None while a quoted cell is open."""
    cells: list[str] = []
    current = ""
    for part in text.rstrip("\r\n").split(delimiter):
        current = f"{current}{delimiter}{part}" if current else part
        if not _is_open(current):
            cells.append(current)
            current = ""
    return None if current else cells


def _is_open(cell: str) -> bool:
    """Whether a cell opens with a quote that it does not close."""
    return cell.startswith('"') and (cell.count('"') % 2 == 1 or not cell.endswith('"'))


def _unquote(cell: str) -> str:
    inner = cell[1:-1]
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    if quoted and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell
