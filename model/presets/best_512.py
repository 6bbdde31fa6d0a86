"""`best` at the full resolution of Kaggle's images, trained on crops of them.

    python -m model.train --preset best-512 --init-from runs/best-1    20 epochs of about 1,042 steps
    python -m model.train --preset best-512 --smoke                    about a minute on two cores

It needs the dataset at 512: `make shards SIZE=512`. 512 pixels gained 0.024 over 256 in Kaggle's competition of 2018
(a ResNet-50, one author's runs). Crops are two thirds to three quarters of the side, as used by its winner and in HPA's
competition of 2021. They vary the input and cost half as much as whole images, which are used for scoring. Start from
the weights of `best` if you have them, because twice the size costs four times as much.
"""

import dataclasses

from model.presets import best

SETTINGS = dataclasses.replace(
    best.SETTINGS, preset="best-512", size=512, crop=384, epochs=20, batch_size=32, learning_rate=2.5e-4
)
