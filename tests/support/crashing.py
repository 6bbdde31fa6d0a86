"""Decoders that end their process, hang, or fail on one example, to be named as `BuildConfig.write`."""

import os
import signal
import time
import unittest.mock
from pathlib import Path

from pipeline.write import writer

VICTIM = "ex-0007"


def _write(at_victim, task, **settings):
    def decode(images, names, schema, size):
        if names[0].startswith(VICTIM):
            at_victim()
        return writer_stack(images, names, schema, size)

    writer_stack = writer.stack_example
    with unittest.mock.patch.object(writer, "stack_example", decode):
        return writer.write_shard(task, **settings)


def segfault(task, **settings):
    return _write(lambda: signal.raise_signal(signal.SIGSEGV), task, **settings)


def abort(task, **settings):
    return _write(os.abort, task, **settings)


def hang(task, **settings):
    return _write(lambda: time.sleep(600), task, **settings)


def out_of_memory_here(task, **settings):
    """Ends only the process of the build, as too many large images at once do."""
    return _write(_end_build, task, **settings)


def _end_build():
    if "crashes" not in " ".join(Path("/proc/self/cmdline").read_text().split("\0")):
        signal.raise_signal(signal.SIGKILL)
