import numpy as np

from bench import separability


def test_features_of_an_example_are_numbers_and_do_not_depend_on_the_process():
    labels, green, added = separability.features(0, 1)
    assert labels
    assert (len(green), len(added)) == (56, 341)
    assert np.isfinite(np.nan_to_num([*green, *added])).all()
    assert separability.features(0, 1) == (labels, green, added)


def test_report_counts_the_separable_classes():
    text = separability.report(np.full(28, 0.9), np.linspace(0.7, 0.97, 28))
    assert "above 0.8: 28 of 28 with four channels, 17 with green alone" in text
    assert "mean: 0.900 and 0.835" in text
    assert " 3 Nucleoli fibrillar center      four channels 0.900  green alone 0.730  by relation" in text
