"""A table for people, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a Markdown table, its columns aligned: the first left, the others right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    text = []
    for line in lines:
        first = line[0].ljust(widths[0])
        cells = [first, *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        text.append("| " + " | ".join(cells) + " |\n")
    return "".join(text)
