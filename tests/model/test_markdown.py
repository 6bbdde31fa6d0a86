"""A generated part of a document is replaced, and nothing else."""

import pytest

from model import markdown
from pipeline.errors import InputError, MissingError


def test_the_part_between_its_marks_is_replaced(tmp_path):
    path = tmp_path / "cells.md"
    path.write_text("before\n<!-- results -->\nold\n<!-- end -->\n<!-- other -->\nkept\n<!-- end -->\n")
    markdown.insert("new", path, "results")
    expected = "before\n<!-- results -->\n\nnew\n\n<!-- end -->\n<!-- other -->\nkept\n<!-- end -->\n"
    assert path.read_text() == expected


def test_a_file_without_marks_is_refused(tmp_path):
    path = tmp_path / "cells.md"
    with pytest.raises(MissingError, match="cells.md does not exist: the table goes between its lines"):
        markdown.insert("new", path, "results")
    path.write_text("no marks")
    with pytest.raises(InputError, match="expected the lines .* between which the table goes; found none"):
        markdown.insert("new", path, "results")
    assert path.read_text() == "no marks"
