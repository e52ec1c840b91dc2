"""README in both languages: equal but for the words. All READMEs: commands and links that work."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
from helpers import COMMANDS, REPOSITORY

from scripts.report import MODEL
from utils.config import Config
from utils.config.parser import build_parser

BOTH = ("README.md", "README_cn.md")
TEXTS = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for pattern in (
        "README*.md",
        "[!.]*/README.md",
        "deploy/*/README.md",
        ".github/CONTRIBUTING.md",
    )
    for path in REPOSITORY.glob(pattern)
}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
RUN = re.compile(
    r"(?:\w+=\S+ )*(?:python|sh|bash|pip install -r|python -m paddle.* )\s*(\S+\.(?:py|sh|txt))(.*)"
)
LINK = re.compile(r"(!?)\[[^]]*\]\(([^)\s]+)\)")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*|\.\d+")
EACH = pytest.mark.parametrize("name", TEXTS)
EACH_LANGUAGE = pytest.mark.parametrize("name", BOTH)


def without_comments(block: str) -> list[list[str]]:
    """The words of a code block's lines, without what stands behind a #."""
    return [re.sub(r"(^|\s)#.*", "", line).split() for line in block.splitlines()]


def sections(name: str) -> list[tuple[str, str]]:
    """The level of each heading, and the text below it without its code blocks."""
    text = FENCED.sub("", TEXTS[name]).replace("README_cn.md", "README.md")
    starts = list(HEADING.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return [(start[1], text[start.end() : end]) for start, end in zip(starts, ends)]


def tables(text: str) -> list[list[list[str]]]:
    """For each line of the tables of a text, the numbers of each cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[sorted(NUMBER.findall(cell)) for cell in line.split("|")] for line in lines]


def commands(name: str) -> list[tuple[str, list[str]]]:
    """The scripts that a reader is told to run, in code blocks and inline, and their arguments."""
    blocks = [
        block.replace("\\\n", "") for kind, block in FENCED.findall(TEXTS[name]) if kind == "sh"
    ]
    inline = CODE.findall(FENCED.sub("", TEXTS[name]))
    found = []
    for line in [*"".join(blocks).splitlines(), *inline]:
        if match := RUN.match(line):
            words = match[2].partition(" | ")[0]  # which separates what may stand there, too
            found.append((match[1], shlex.split(words, comments=True)))
    return found


def parse(script: str, words: list[str]) -> None:
    """Parses a command as the script does; raises where a flag or a value is unknown."""
    if script in COMMANDS:
        build_parser(COMMANDS[script]).parse_args(words)
        return
    module = importlib.import_module(script[: -len(".py")].replace("/", "."))
    if words or hasattr(module, "parse_arguments"):
        module.parse_arguments(words)


def test_both_have_the_same_code():
    english, chinese = (FENCED.findall(TEXTS[name]) for name in BOTH)
    assert len(english) > 8 and [kind for kind, _ in english] == [kind for kind, _ in chinese]
    for (_, block), (_, other) in zip(english, chinese):
        assert without_comments(other) == without_comments(block)


def test_both_have_the_same_headings_inline_code_links_pictures_and_numbers():
    english, chinese = map(sections, BOTH)
    assert len(english) > 12 and [level for level, _ in english] == [level for level, _ in chinese]
    for (_, text), (_, other) in zip(english, chinese):
        for pattern in (CODE, LINK, NUMBER):
            assert sorted(pattern.findall(other)) == sorted(pattern.findall(text))
        assert tables(other) == tables(text)


@EACH_LANGUAGE
def test_each_leads_to_the_other_language_and_to_much_else(name):
    links = {target for _, target in LINK.findall(TEXTS[name])}
    assert {*BOTH, "LICENSE", "data/README.md", "output/search_page.jpg"} - {name} <= links


@EACH
def test_links_lead_to_files(name):
    text = CODE.sub("code", FENCED.sub("", TEXTS[name]))
    links = {target.partition("#")[0] for _, target in LINK.findall(text)}
    files = [link for link in links if link and not link.startswith("http")]
    assert [file for file in files if not (REPOSITORY / name).parent.joinpath(file).exists()] == []


@EACH
def test_commands_name_scripts_and_flags_that_are_there(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text("bits: [16]\n")  # parsed with the flags
    scripts = set()
    for script, words in commands(name):
        assert (REPOSITORY / script).is_file(), script
        scripts.add(script)
        if script.endswith(".py") and not script.startswith("tests/"):
            try:
                parse(script, words)
            except SystemExit as end:  # --help
                assert end.code == 0 and "--help" in words
    if name in BOTH:
        assert {*COMMANDS, "scripts/sweep.py", "deploy/search/serve.py"} <= scripts


@EACH_LANGUAGE
def test_flags_in_the_text_are_those_of_the_commands(name):
    of_launch = ("nnodes", "master")  # Paddle's
    options = ["help", "config", *Config.options(), *of_launch]
    known = {"--" + option.replace("_", "-") for option in options}
    flags = {word for code in CODE.findall(FENCED.sub("", TEXTS[name])) for word in code.split()}
    flags = {word for word in flags if word.startswith("--")}
    assert len(flags) > 15 and flags <= known


@EACH_LANGUAGE
def test_the_table_of_models_has_the_columns_of_the_report(name):
    table = [line for line in TEXTS[name].splitlines() if line.startswith("| 16")]
    assert table and {line.count("|") for line in table} == {len(MODEL) + 1}
    assert f"| {' | '.join(MODEL)} |" in TEXTS["README.md"]
