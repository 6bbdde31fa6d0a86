"""What the modules of a package import and define, read from their syntax trees."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Import(NamedTuple):
    """One imported name: `by` is the path of the importing module; `lazy` means inside a function."""

    by: str
    name: str
    lazy: bool


@functools.cache
def trees(package: str) -> dict[str, ast.Module]:
    """Returns `{path: syntax tree}` of every module in a package; paths are relative to the repository."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


def imports(package: str) -> list[Import]:
    """Returns the absolute imports of a package; imports for type checkers do not count."""
    return [
        Import(path, name, lazy)
        for path, tree in trees(package).items()
        for node, lazy in _run_nodes(tree, lazy=False)
        for name in _names(node)
    ]


def _run_nodes(node: ast.AST, *, lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, lazy
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _run_nodes(child, lazy=lazy)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def functions(package: str) -> Iterator[tuple[str, int]]:
    """Yields (path and name, number of lines) of every function."""
    for path, tree in trees(package).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}: {node.name}", node.end_lineno - node.lineno + 1


def isinstance_checks(package: str, *classes: str) -> list[str]:
    """Returns where a package calls `isinstance` with one of these classes."""
    return [
        f"{path}: {ast.unparse(node)}"
        for path, tree in trees(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
        for name in ast.walk(node.args[1])
        if (isinstance(name, ast.Name) and name.id in classes)
        or (isinstance(name, ast.Attribute) and name.attr in classes)
    ]
