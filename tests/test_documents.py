"""What the documents say can be done: commands and options exist, links lead somewhere, the site and the tour build."""

import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.support.sources import draw_source

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "model/README.md", ROOT / "bench/README.md"],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]

OURS = ("python", "make", "hpa-stacked")
"""Programs whose commands are checked; `python` only with `-m` and a module of this repository."""

PACKAGES = {"pipeline", "model", "bench", "tests"}


def code(text: str) -> Iterator[str]:
    """Yields lines of code: of blocks, with continued lines joined, and inline."""
    text = text.replace("\\\n", " ")
    for block in re.findall(r"^ *```(?:bash|sh|console)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"^ {4,}(.*)$", text, re.MULTILINE)
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))


def commands(text: str) -> list[list[str]]:
    """Returns the words of each command of `OURS` in a document, without comments and variables before it."""
    found = []
    for line in code(text):
        match = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/bin/)?(python3?|make|hpa-stacked) (.*)", line.strip())
        if not match:
            continue
        line = re.split(r"\s#\s|\s{2,}(?=[a-z])|…|;|\||&&", f"{match[1]} {match[2]}")[0]
        try:
            words = shlex.split(re.sub(r"[\[\]]", "", line))
        except ValueError:  # a message quotes the command, and goes on
            words = line.partition("'")[0].split()
        package, _, module = words[2].partition(".") if words[1:2] == ["-m"] else ("", "", "")
        if words[0] != "python" or (package in PACKAGES and not module.isupper()):
            found.append(words)
    return found


def click_command(name: str, attribute: str = "main") -> click.Command | None:
    """Returns the command of a module, or `None` if it is not made with click."""
    places = [f"{name}.cli", f"{name}.__main__", name]
    place = next((place for place in places if _exists(place)), None)
    if place is None:
        raise ModuleNotFoundError(name)
    command = getattr(importlib.import_module(place), attribute, None)
    return command if isinstance(command, click.Command) else None


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its package does not exist, or is a module
        return False


def console_script() -> click.Command:
    """Returns what the installed command `hpa-stacked` runs."""
    from hpa_cli.commands import commands

    return commands


def problem(words: list[str]) -> str | None:
    """Returns what is wrong with a command, or `None`."""
    if words[0] == "make":
        return make_problem(words[1:])
    try:
        command = console_script() if words[0] != "python" else click_command(words[2])
    except ModuleNotFoundError:
        return "there is no such program"
    rest = words[1:] if words[0] != "python" else words[3:]
    if command is None:
        source = ROOT / words[2].replace(".", "/")
        files = source.glob("*.py") if source.is_dir() else [source.with_suffix(".py")]
        text = "".join(path.read_text() for path in files)
        missing = [word for word in rest if word.startswith("--") and f'"{word.partition("=")[0]}"' not in text]
        return f"{missing} are not in its source" if missing else None
    return click_problem(command, rest)


def click_problem(command: click.Command, rest: list[str]) -> str | None:
    """Returns the first word that the command does not know, or `None`."""
    context = click.Context(command)
    while isinstance(command, click.Group) and rest and re.fullmatch("[a-z][a-z-]*", rest[0]):
        if rest[0] not in command.list_commands(context):
            return f"it has no command {rest[0]}"
        command, rest = command.get_command(context, rest[0]), rest[1:]
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    beam = command.context_settings.get("ignore_unknown_options", False)
    for number, word in enumerate(rest):
        name, _, value = word.partition("=")
        if not name.startswith("--") or name in ("--help", "--"):
            continue
        if name not in options and not beam:
            return f"it has no option {name}"
        kind = options[name].type if name in options else None
        value = value or "".join(rest[number + 1 : number + 2])
        if isinstance(kind, click.Choice) and value and value not in kind.choices and not value.isupper():
            return f"{name} cannot be {value}"
    return None


def make_problem(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) *[?:]?=", makefile, re.MULTILINE))
    for word in words:
        name, sign, _ = word.partition("=")
        if name not in (variables if sign else targets):
            return f"the Makefile has no {'variable' if sign else 'target'} {name}"
    return None


@pytest.mark.parametrize("name", NAMES)
def test_every_command_in_a_document_exists(name):
    wrong = [
        f"{shlex.join(words)}: {found}"
        for words in commands((ROOT / name).read_text())
        if words[1:2] not in (["a"], ["of"], ["the"]) and (found := problem(words))
    ]
    assert wrong == []


def test_the_readmes_have_commands_to_check():
    assert len(commands((ROOT / "README.md").read_text())) >= 10
    assert len(commands((ROOT / "model/README.md").read_text())) >= 5


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m pipeline shards --sourc DIR --data-dir DIR", None),  # Beam may know it
        ("python -m pipeline verify DIR --sourc DIR", "it has no option --sourc"),
        ("python -m pipeline shard --source DIR", "it has no command shard"),
        ("python -m pipeline schema drafts", "it has no command drafts"),
        ("python -m model.train --preset bset", "--preset cannot be bset"),
        ("python -m model.trian", "there is no such program"),
        ("python -m tests.torture --nmu 3", "['--nmu'] are not in its source"),
        ("make shard", "the Makefile has no target shard"),
        ("make shards SOURC=x", "the Makefile has no variable SOURC"),
        ("make train PRESET=best", None),
    ],
)
def test_a_wrong_command_is_found(command, expected):
    (words,) = commands(f"text\n\n    {command}  # why\n")
    assert problem(words) == expected


def test_a_continued_line_is_one_command():
    text = "```\nTF=1 .venv/bin/python -m pipeline shards --source DIR \\\n  --data-dir DIR\n```\n"
    assert commands(text) == [["python", "-m", "pipeline", "shards", "--source", "DIR", "--data-dir", "DIR"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_document_leads_to_a_file(name):
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    paths = [target for target in targets if target and "://" not in target]
    assert [path for path in paths if not ((ROOT / name).parent / path).exists()] == []


def test_the_example_of_the_api_builds_a_dataset(tmp_path):
    draw_source(tmp_path / "build/sample-400-0", num=30, side=64)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "hpa_stacked/64/" in done.stdout
    assert "{'train': 23, 'dev': 3, 'test': 4}" in done.stdout


def test_the_site_builds_without_a_warning(tmp_path):
    """Every page is in the navigation, and every link, anchor and name of the API exists."""
    pytest.importorskip("mkdocs", reason="the site needs the extra 'docs'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr[-3000:]) == (0, "")
    page = (tmp_path / "site/api/index.html").read_text()
    assert "pipeline.job.build" in page
    fetched = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|png|woff2?))"', page)
    assert fetched == []


def test_the_tour_runs_as_it_stands(tmp_path):
    """Builds, looks, trains, scores and makes the page, in a kernel of this environment."""
    nbformat = pytest.importorskip("nbformat", reason="the tour needs the extra 'docs'")
    nbclient = pytest.importorskip("nbclient", reason="the tour needs the extra 'docs'")
    notebook = nbformat.read(ROOT / "docs/tour.ipynb", 4)
    client = nbclient.NotebookClient(notebook, timeout=540, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        client.execute()
    assert (tmp_path / "tour/run/report.html").stat().st_size > 50_000
    shown = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert "Error" not in shown
    assert "macro F1" in shown


def test_the_stored_outputs_of_the_tour_name_no_machine():
    notebook = (ROOT / "docs/tour.ipynb").read_text()
    assert not re.search(r"/home/|/tmp/|/work/|/root/|Error|Warning", notebook)
