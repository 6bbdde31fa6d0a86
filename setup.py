"""For Apache Beam's `--setup_file`, which wants a script; everything is said in setup.cfg."""

from setuptools import setup

setup()
