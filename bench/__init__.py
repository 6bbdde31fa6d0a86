"""Benchmarks of this project, its peers and the limits of the machine."""
