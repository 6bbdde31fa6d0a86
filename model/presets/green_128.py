"""The paper's first model: the green filter alone, at 128 x 128; macro F1 about 0.1.

    python -m model.train --preset green-128            30 epochs of 1,500 steps
    python -m model.train --preset green-128 --smoke    about a minute on two cores

It needs the dataset at 128: `python -m pipeline shards --size 128`. The paper gives neither batch size nor optimiser
for this model. The batch size is that of its other models; Adam at Keras's default rate is assumed.
"""

from model.settings import Settings

SETTINGS = Settings(preset="green-128", size=128, channels=("green",))
