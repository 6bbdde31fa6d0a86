"""The words of user-facing messages in the code, and the strings of the tests, found in their syntax trees.

`python -m tests.support.messages` prints the lines that `docs/errors.md` lacks, and those that it has too many.
"""

import ast
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MAKERS = re.compile(r"\w*(Error|Exception|BadParameter|Bad[A-Z]\w*|AlreadyPublished)|bad|fail|_?refuse\w*|_damaged")
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


def templates(package: Path) -> dict[str, list[str]]:
    """Returns `{module: messages}` as the document lists them: with an ellipsis for every value."""
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        texts = [text for node in ast.walk(ast.parse(path.read_text())) for text in map(literal, _message_nodes(node))]
        whole = [" ".join(text.replace(f" {GAP} ", "…").split()) for text in texts if text]
        # What has no space is a code or the name of an argument.
        if mine := sorted({text for text in whole if " " in text and len(words(text)) > 1}):
            found[path.relative_to(package.parent).as_posix()] = mine
    return found


_ENTRY = re.compile(r"- `(.+?)`(?:\. (.+))?")


def documented(document: str) -> dict[str, dict[str, bool]]:
    """Returns `{module: {message: whether cause and cure are stated}}` of a document like `docs/errors.md`.

    A section is headed by the path of its module. Each message is an item with a text, or the section begins with one
    for all of its messages.
    """
    found: dict[str, dict[str, bool]] = {}
    for section in re.split(r"^#+ (?=`)", document, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        items = [" ".join(item.split()) for item in re.split(r"\n(?=- `)", body) if item.strip()]
        shared = bool(items) and not items[0].startswith("- `")
        entries = [_ENTRY.match(re.sub(r" #+ .*", "", item)) for item in items[shared:]]
        found[heading.strip("` ")] = {entry[1]: shared or bool(entry[2]) for entry in entries if entry}
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
        case ast.FunctionDef(name=name) if re.search("verify|check|problem|mismatch", name):
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


def _main() -> None:
    root = Path(__file__).parents[2]
    listed = documented((root / "docs/errors.md").read_text())
    for package in ("pipeline", "hpa_tfds", "model"):
        for module, found in templates(root / package).items():
            for text in sorted(set(found) - set(listed.get(module, {}))):
                print(f"missing in `{module}`: - `{text}`. CAUSE AND CURE")
            for text in sorted(set(listed.get(module, {})) - set(found)):
                print(f"gone from `{module}`: - `{text}`")


if __name__ == "__main__":
    _main()
