"""The channels and classes of the default schema."""

from pipeline.schema import HPA_KAGGLE_2018

FILTERS = HPA_KAGGLE_2018.channel_names
CLASS_NAMES = HPA_KAGGLE_2018.classes
NUM_CLASSES = HPA_KAGGLE_2018.num_classes
