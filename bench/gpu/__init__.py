"""Training rates on this machine's device: our pipeline, batches that stay on the device, and torchvision."""
