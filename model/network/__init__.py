"""The network: layers, losses, augmentation, optimisers, pretrained weights."""
