"""The prose of the repository, sentence by sentence: docstrings, comments and documents."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`\"'*\[])")
_LIST_MARK = re.compile(r"^\s*([-*]|\d+\.) ")
_MARKDOWN_NOISE = re.compile(r"^\s*(#+ .*|\|[-:| ]+\||```.*)$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and the line on which its paragraph begins."""

    path: str
    line: int
    text: str


def python_sentences(path: Path, root: Path) -> Iterator[Sentence]:
    """Yields the sentences of a module's docstrings, of the texts below its fields, and of its comments."""
    source, name = path.read_text(), path.relative_to(root).as_posix()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield from _split(name, node.body[0].lineno, docstring)
            if isinstance(node, ast.ClassDef):
                for line, text in _field_texts(node):
                    yield from _split(name, line, text)
    for line, text in _comment_blocks(source):
        yield from _split(name, line, text)


def markdown_sentences(path: Path, root: Path) -> Iterator[Sentence]:
    """Yields the sentences of a document, without headings and code. Each cell of a table is a paragraph."""
    name, is_code, paragraph, begin = path.relative_to(root).as_posix(), False, "", 1
    for number, line in enumerate([*path.read_text().splitlines(), ""], 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        is_row = line.startswith("|")
        if is_code or is_row or not line.strip() or _MARKDOWN_NOISE.match(line) or _LIST_MARK.match(line):
            yield from _split(name, begin, paragraph)
            paragraph = ""
        if is_code or _MARKDOWN_NOISE.match(line):
            continue
        if is_row:
            for cell in line.strip("|").split(" | "):
                yield from _split(name, number, cell.strip())
        elif line.strip():
            begin = begin if paragraph else number
            paragraph = f"{paragraph} {_LIST_MARK.sub('', line)}".strip()


def _field_texts(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Yields the texts that stand below the fields of a class, with the line of each."""
    for each in node.body[1:]:
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str):
            yield each.lineno, each.value.value


def _comment_blocks(source: str) -> Iterator[tuple[int, str]]:
    """Yields comments with the line of each. Comments on successive lines are one paragraph."""
    block, begin, last = "", 0, -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("#: ")
        if token.start[0] != last + 1:
            yield begin, block
            block, begin = "", token.start[0]
        block, last = f"{block} {text}".strip(), token.start[0]
    yield begin, block


def _split(path: str, line: int, text: str) -> Iterator[Sentence]:
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _SENTENCE.split(" ".join(paragraph.split())):
            if sentence:
                yield Sentence(path, line, sentence)
