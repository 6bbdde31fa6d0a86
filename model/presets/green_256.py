"""The paper's second model: the green filter, one more convolution in each identity block; macro F1 about 0.16.

python -m model.train --preset green-256            30 epochs of 1,500 steps
python -m model.train --preset green-256 --smoke    about a minute on two cores
"""

from model.settings import Settings

SETTINGS = Settings(preset="green-256", channels=("green",), extra_conv=True)
