"""What a terminal, a pipe and a log file show of the same lines."""

from __future__ import annotations

import contextlib
import io
import logging
import re

import pytest

from utils.system.errors import shown_on
from utils.system.logger import log_to_console, log_to_files


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")
    return Terminal()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("short", "short"),
        ("", ""),
        ("   1         7  + a/b.jpg", "   1         7  + a/b.jpg"),
        (f"{'word ' * 9}end", f"{'word ' * 7}word\n    word end"),
        (f"Metrics: {'a-folder/' * 5}m.json", f"Metrics:\n    {'a-folder/' * 5}m.json"),
        # Commands can be pasted.
        (
            f"Next: python a.py {'--flag ' * 4}b",
            f"Next: python a.py {'--flag ' * 3}\\\n    --flag b",
        ),
        (
            f"Next: python a.py '{'my data ' * 4}' --b 'it'\"'\"'s mine'",
            f"Next: python a.py \\\n    '{'my data ' * 4}' \\\n    --b 'it'\"'\"'s mine'",
        ),
        (
            "It's all there now: what's next is python a.py 'a b'",
            "It's all there now: what's next is\n    python a.py 'a b'",
        ),
    ],
)
def test_a_terminal_shows_lines_broken_between_words_and_never_in_a_path(terminal, line, shown):
    assert shown_on(terminal, line) == shown
    assert shown_on(io.StringIO(), line) == line


def test_a_terminal_shows_the_time_and_the_file_the_date_too(terminal, tmp_path):
    path = tmp_path / "log.txt"
    with contextlib.redirect_stdout(terminal):
        log_to_files(path)
        logging.getLogger("utils.x").info(f"train_set {'9' * 30}")
        log_to_console(json=False)
    assert re.fullmatch(r"\d\d:\d\d:\d\d train_set\n    9{30}\n", terminal.getvalue())
    text = path.read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d train_set 9{30}\n", text)
