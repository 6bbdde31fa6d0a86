"""From the bytes of image files to stacked pixels."""
