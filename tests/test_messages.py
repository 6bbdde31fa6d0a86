"""Every message that a user can meet has a test of its words."""

from pathlib import Path

import pytest

from tests.support import messages

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "hpa_tfds", "model")

EXEMPT = {
    "download and prepare": "TFDS declares this method abstract, and nothing calls it",
}
"""Words of a message -> why a user cannot meet it."""


@pytest.fixture(scope="module")
def found() -> list[messages.Message]:
    return [message for package in PACKAGES for message in messages.messages(ROOT / package)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_message_has_a_test_of_its_words(package, found):
    mine = [message for message in found if message.where.startswith(f"{package}/")]
    assert mine
    missing = [str(message) for message in messages.untested(found, ROOT / "tests") if message in mine]
    missing = [line for line in missing if not any(words in line for words in EXEMPT)]
    assert not missing, f"no test has the words of {len(missing)} of {len(mine)} messages:\n" + "\n".join(missing)


def test_every_exempt_message_exists(found):
    assert [words for words in EXEMPT if not any(words in str(message) for message in found)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_message_is_documented_with_cause_and_cure(package):
    """`python -m tests.support.messages` prints what the document lacks and what it has too many."""
    listed = messages.documented((ROOT / "docs/errors.md").read_text())
    mine = {module: entries for module, entries in listed.items() if module.startswith(f"{package}/")}
    found = messages.templates(ROOT / package)
    in_code = {(module, text) for module, texts in found.items() for text in texts}
    in_document = {(module, text) for module, entries in mine.items() for text in entries}
    assert in_code
    assert (sorted(in_code - in_document), sorted(in_document - in_code)) == ([], [])
    assert [text for entries in mine.values() for text, explained in entries.items() if not explained] == []


DOCUMENT = """
# Errors
## Section
### `package/module.py`
- `…: first problem`. Cause. Cure,
  on two lines.
- `second problem`
### `package/other.py`
All of these have one cause.
- `third problem …`
## Other section
"""


def test_documented_messages_are_read_with_their_causes():
    assert messages.documented(DOCUMENT) == {
        "package/module.py": {"…: first problem": True, "second problem": False},
        "package/other.py": {"third problem …": True},
    }


CODE = """
def check(path, names):
    problems = [f"{path}: first problem of the file" for name in names]
    problems.append("second problem is appended here")
    if names:
        raise InputError(f"{path}: third problem {names} that is raised " + "with added words")
    yield f"{path}: fourth problem is yielded here"
    raise bad("code", f"fifth problem comes from a helper {path!r}")
"""

TESTS = '''
def test_words(tmp_path):
    """The fourth problem is yielded here."""
    # second problem is appended here
    with pytest.raises(InputError, match=r"first problem \\d+ of the .*file"):
        check(tmp_path)
    assert found == f"{tmp_path}: third problem of {tmp_path} that is raised with added words"
'''


@pytest.fixture
def package(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text(CODE)
    (tmp_path / "tests").mkdir()
    return tmp_path / "package"


def test_messages_are_found_wherever_errors_are_made(package):
    assert sorted(str(message).removeprefix("package/module.py: ") for message in messages.messages(package)) == [
        "fifth problem comes from a helper",
        "first problem of the file",
        "fourth problem is yielded here",
        "second problem is appended here",
        "third problem ... that is raised with added words",
    ]


def test_only_strings_of_tests_count_and_wildcards_separate_words(package, tmp_path):
    (tmp_path / "tests/test_words.py").write_text(TESTS)
    missing = messages.untested(messages.messages(package), tmp_path / "tests")
    assert sorted(" ".join(message.parts[0][:2]) for message in missing) == [
        "fifth problem", "first problem", "fourth problem", "second problem"
    ]  # fmt: skip


def test_a_run_of_words_that_two_messages_share_identifies_neither(package, tmp_path):
    (package / "module.py").write_text(
        "raise A_Error('no such file at all: left')\nraise A_Error('no such file at all: right')"
    )
    (tmp_path / "tests/test_words.py").write_text("match = 'no such file at all'")
    assert len(messages.untested(messages.messages(package), tmp_path / "tests")) == 2
    (tmp_path / "tests/test_words.py").write_text("match = 'file at all: left'")
    assert [m.parts[0][-1] for m in messages.untested(messages.messages(package), tmp_path / "tests")] == ["right"]
