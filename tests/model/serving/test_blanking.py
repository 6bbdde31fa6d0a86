"""Ablation blanks each reference channel, all of them, and the protein."""

import numpy as np


def test_each_reference_all_of_them_and_the_protein_are_blanked():
    from model.serving.blanking import blanked_sets

    assert blanked_sets(("green",), "green") == [("green",)]
    assert blanked_sets(("DNA", "ER"), None) == [("DNA",), ("ER",)]
    assert blanked_sets(("green", "blue", "red"), "green") == [("blue",), ("red",), ("blue", "red"), ("green",)]


def test_a_blanked_channel_is_its_mean_over_train(evaluated):
    from model import runs
    from model.serving.blanking import blank

    run = runs.open_run(evaluated)
    image = np.full((2, 4, 4, 4), 200, np.uint8)
    blanked = blank(image, run, ["blue"])
    np.testing.assert_allclose((blanked[..., 2] / 255 - run.mean[2]) / run.std[2], 0, atol=1e-6)
    assert np.all(blanked[..., [0, 1, 3]] == 200)
