"""The words of user-facing messages in the code, and the strings of the tests, found in their syntax trees."""

import ast
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MAKERS = re.compile(r"\w*(Error|Exception|BadParameter|Bad[A-Z]\w*|AlreadyPublished)|bad|fail|_?refuse\w*")
"""Names of what turns a string into an error: exception classes, and helpers like `bad(code, detail)`."""

GAP = "*"
"""Stands where a string has a value or a wildcard: words on its two sides are not adjacent."""

RUN = 4
"""Number of adjacent words that identify a message; a shorter message is identified by its longest part."""


@dataclasses.dataclass(frozen=True)
class Message:
    """`parts` are the literal pieces of a message, each a tuple of words; `where` is its module."""

    where: str
    parts: tuple[tuple[str, ...], ...]

    def runs(self) -> Iterator[tuple[str, ...]]:
        """Yields the runs of adjacent words of which a test must have one."""
        length = min(RUN, max(len(part) for part in self.parts))
        for part in self.parts:
            for start in range(len(part) - length + 1):
                yield part[start : start + length]

    def __str__(self) -> str:
        return f"{self.where}: {' ... '.join(' '.join(part) for part in self.parts)}"


def words(text: str) -> list[str]:
    """Returns the words of a message, or of a regular expression for one, with `GAP` for wildcards."""
    text = re.sub(r"\(\?\w+\)", "", text)
    text = re.sub(r"\[[^\]]*\][*+?]|\\[dswDSWbB][*+?]?|\.[*+]\??|\(\.\|\\n\)[*+]?|\{\d+\}", f" {GAP} ", text)
    return re.findall(rf"\w+|\{GAP}", text.replace("\\n", " ").replace("\\", "").replace("_", " "))


def literal(node: ast.AST) -> str | None:
    """Returns the text of a string expression with `GAP` for every value, or `None` for another expression."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(f" {GAP} " if isinstance(value, ast.FormattedValue) else literal(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        return None if left is right is None else f"{left or f' {GAP} '}{right or f' {GAP} '}"
    return None


def messages(package: Path) -> list[Message]:
    """Returns every message in a package that has at least two adjacent literal words."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for text in filter(None, map(literal, _message_nodes(node))):
                parts = tuple(tuple(part.split()) for part in " ".join(words(text)).split(GAP) if len(part.split()) > 1)
                if parts:
                    found.append(Message(path.relative_to(package.parent).as_posix(), parts))
    return found


def _message_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the string expressions by which a node makes messages."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if MAKERS.fullmatch(name):
            yield from node.args
        case ast.Call(func=ast.Attribute(value=ast.Name(id="problems"), attr="append")):
            yield from node.args
        case ast.AugAssign(target=ast.Name(id="problems")) | ast.Assign(targets=[ast.Name(id="problems")]):
            yield from _elements(node.value)
        case ast.FunctionDef(name=name) if re.search("verify|check|problems|mismatch", name):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Yield) and inner.value is not None:
                    yield inner.value
                elif isinstance(inner, ast.Return) and inner.value is not None:
                    yield from _elements(inner.value)


def _elements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.List | ast.Tuple):
        yield from node.elts
    elif isinstance(node, ast.ListComp):
        yield node.elt


def untested(found: list[Message], tests: Path) -> list[Message]:
    """Returns the messages of which no test has a run of words.

    A run that two messages share counts for neither, unless it has no other.
    """
    tested = _runs_of_tests(tests)
    counts = Counter(run for parts in {message.parts for message in found} for run in set(Message("", parts).runs()))
    missing = []
    for message in found:
        runs = set(message.runs())
        own = {run for run in runs if counts[run] == 1}
        if tested.isdisjoint(own or runs):
            missing.append(message)
    return missing


def _runs_of_tests(tests: Path) -> set[tuple[str, ...]]:
    """Returns the runs of two to `RUN` adjacent words in the strings of the tests; docstrings do not count."""
    found, lengths = set(), range(2, RUN + 1)
    for path in tests.rglob("*.py"):
        for text in _strings(ast.parse(path.read_text())):
            row = words(text)
            found |= {tuple(row[k : k + n]) for n in lengths for k in range(len(row) - n + 1)}
    return found


def _strings(node: ast.AST) -> Iterator[str]:
    text = literal(node)
    if text is not None:
        yield text
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):  # a docstring
            yield from _strings(child)
