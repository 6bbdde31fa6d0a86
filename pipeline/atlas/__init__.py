"""The synthetic atlas: drawn examples in Kaggle's layout.

`sample` writes a folder of examples, in several `processes`. One example is drawn by `drawing`: a field
of `cells`, three reference `stains`, and the protein at one or more of the 28 `localisations`, painted with `pens`.
`label_sets` draws the labels, and `contact_sheet` shows an example of each class.

A class is added in `localisations`, which lists the steps and the tests.
"""
