"""The installed command `hpa-stacked`."""
