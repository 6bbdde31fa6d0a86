"""The paper's fourth model: all four filters stacked; macro F1 about 0.33.

    python -m model.train --preset stacked-256            30 epochs of about 2,084 steps
    python -m model.train --preset stacked-256 --smoke    about a minute on two cores

Like `rgb-256`, with yellow (the endoplasmic reticulum) as the fourth channel.
"""

import dataclasses

from model.presets import rgb_256
from pipeline.schema import HPA_KAGGLE_2018

SETTINGS = dataclasses.replace(rgb_256.SETTINGS, preset="stacked-256", channels=HPA_KAGGLE_2018.channel_names)
