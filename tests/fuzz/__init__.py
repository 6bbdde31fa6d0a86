"""Fuzzing: damaged and hostile inputs of every format, drawn from a seed, each in a process that may die.

    python -m tests.fuzz --target all --cases 1000000 --seed 0 --jobs 2

An input is accepted or refused with an expected error. Whatever is accepted is compared with another decoder, so that
damage is not only survived, but never taken for something else.
"""
