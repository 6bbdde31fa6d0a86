"""TFDS datasets of the Human Protein Atlas. Importing the package registers `hpa_stacked`."""

from hpa_tfds.hpa_stacked.hpa_stacked_dataset_builder import Builder as HpaStacked

__all__ = ["HpaStacked"]
