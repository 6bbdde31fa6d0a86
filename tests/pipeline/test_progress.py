"""The progress bar."""

import pytest

from pipeline.progress import Bar


def test_an_error_after_an_interrupted_bar_has_its_own_line(capsys):
    def interrupt():
        raise KeyboardInterrupt

    bar = Bar("checking")
    bar(1, 2)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(bar._tqdm, "close", interrupt)
        bar.close()
    assert capsys.readouterr().err.endswith("\n")
    bar.close()
