"""Rates of training on the device that is there: our pipeline, batches that lie on the device, and torchvision."""
