"""The Keras backend: start, devices, precision, compilation.

Keras reads `KERAS_BACKEND` when it is first imported: call `start` before that. TensorFlow always reads the data, and
is kept off the GPU if another backend computes.
"""

import contextlib
import ctypes
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.console import extras
from pipeline.errors import InputError

BACKENDS = ("tensorflow", "jax", "torch")

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""Exists on Linux if the driver of an NVIDIA GPU is loaded."""


def start(deterministic: bool = False) -> str:
    """Imports TensorFlow and Keras without their messages, and returns the name of the backend.

    With `deterministic`, TensorFlow's results are bit-identical in every process on a machine. Otherwise, oneDNN is
    used on a CPU: several times as fast, but its sums may differ in the seventh digit between processes.

    Raises:
        InputError: `KERAS_BACKEND` is unknown, or not installed.
    """
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    if name not in BACKENDS:
        raise InputError(f"KERAS_BACKEND is {name!r}, expected one of {', '.join(BACKENDS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow reads this when it is imported.
    if deterministic:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    keep_freed_memory()
    # Not with Torch: if the LLVM of its Triton conflicts with TensorFlow's, the process dies in this import, and its
    # message must be visible.
    with _quiet() if name != "torch" else contextlib.nullcontext():
        try:
            import tensorflow as tf

            importlib.import_module(name)
            import keras
        except ImportError as error:
            raise _cannot_import(name, error) from error
        for gpu in tf.config.list_physical_devices("GPU"):  # without a driver, logs many lines
            if name == "tensorflow":
                tf.config.experimental.set_memory_growth(gpu, True)
        if name != "tensorflow":
            tf.config.set_visible_devices([], "GPU")
        # Hides, for example, advice on retracing, which is for programmers: a model is traced for each batch size.
        tf.get_logger().setLevel("ERROR")
        if deterministic:
            tf.config.experimental.enable_op_determinism()
    return keras.backend.backend()


def _cannot_import(name: str, error: ImportError) -> InputError:
    if name != "tensorflow":
        return InputError(f"KERAS_BACKEND is {name!r}, which cannot be imported ({error}): {extras.install(name)}")
    if isinstance(error, ModuleNotFoundError) and error.name in extras.FOR_TRAINING:
        package = extras.FOR_TRAINING[error.name]
        return InputError(f"{package} is not installed, which training needs: {extras.install('train')}")
    return InputError(f"TensorFlow cannot be imported ({error}): {extras.install('train')} may help")


def gpus() -> int:
    """Returns the number of GPUs that the backend can use."""
    import keras

    return 0 if keras.backend.backend() == "torch" and not _torch_cuda() else len(_gpu_names())


def policy(precision: str) -> str:
    """Returns the Keras dtype policy for `precision`: `auto` is bfloat16 where it is fast, else float16 on GPUs."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if gpus() and _has_fast_bfloat16() else "mixed_float16" if gpus() else "float32"


def jit_compile(deterministic: bool = False) -> bool:
    """Returns whether to compile the step with XLA: always with JAX, and with TensorFlow on one GPU.

    Not with TensorFlow on a CPU, where XLA's convolutions are slower, nor on several GPUs or with `deterministic`,
    where XLA does not work; nor with Torch, which would need a C++ compiler at run time.
    """
    import keras

    name = keras.backend.backend()
    return name == "jax" or (name == "tensorflow" and gpus() == 1 and not deterministic)


def num_replicas(num_devices: int) -> int:
    """Returns how many parts of a batch have separate gradients: with TensorFlow, one per device."""
    import keras

    return num_devices if keras.backend.backend() == "tensorflow" else 1


@contextlib.contextmanager
def all_devices() -> Iterator[int]:
    """Makes models in the block use all devices, with batches split between them; yields the number of devices."""
    import keras

    name, devices = keras.backend.backend(), _devices()
    if len(devices) < 2 or name == "torch":
        yield 1
    elif name == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False))
        try:
            yield len(devices)
        finally:
            keras.distribution.set_distribution(None)
    else:
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(devices).scope():
            yield len(devices)


def prefetch_to_device(batches: Any) -> Any:
    """Returns `batches`, prefetched to GPU memory if TensorFlow computes on exactly one GPU."""
    import keras
    import tensorflow as tf

    names = tf.config.list_logical_devices("GPU")
    if keras.backend.backend() != "tensorflow" or len(names) != 1:
        return batches
    return batches.apply(tf.data.experimental.prefetch_to_device(names[0].name, buffer_size=2))


def summary() -> str:
    """Returns backend and devices as a phrase, with advice if the backend does not see the GPU."""
    import keras

    num, name = gpus(), keras.backend.backend()
    if not num and NVIDIA_DRIVER.exists():
        return f"{name} on CPU: it does not see this machine's NVIDIA GPU, {extras.install('gpu')} may help"
    return f"{name} on {f'{num} GPU' if num else 'CPU'}{'s' if num > 1 else ''}"


def versions() -> dict[str, str]:
    """Returns the versions of everything that can change results, and the devices."""
    import keras

    names = ["hpa-stacked", "keras", "tensorflow", "tensorflow-datasets", "numpy"]
    if keras.backend.backend() != "tensorflow":
        names.append(keras.backend.backend())
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in names},
        "backend": keras.backend.backend(),
        "devices": ", ".join(map(str, _devices())) or "cpu",
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _devices() -> list[str]:
    """Returns the GPUs, or the CPUs if there are none; tests make several virtual CPUs."""
    import keras

    return _gpu_names() or (keras.distribution.list_devices("cpu") if keras.backend.backend() != "torch" else [])


def _gpu_names() -> list[str]:
    import keras

    if keras.backend.backend() == "torch":
        return ["cuda:0"] if _torch_cuda() else []
    try:
        return list(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX, if no such platform exists
        return []


def _torch_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_fast_bfloat16() -> bool:
    """Returns whether the GPU has bfloat16 in hardware: NVIDIA's have it from compute capability 8.0."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.get_device_capability()[0] >= 8
    if keras.backend.backend() == "jax":
        import jax

        return float(getattr(jax.devices()[0], "compute_capability", 8.0)) >= 8
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details.get("compute_capability", (8, 0))[0] >= 8


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next batch, in one arena for all threads; does nothing elsewhere.

    By default, every batch is unmapped and mapped again, and zeroing its pages takes a sixth of the time of reading.
    The numbers are `M_TRIM_THRESHOLD`, `M_MMAP_THRESHOLD` and `M_ARENA_MAX` of `mallopt(3)`.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-1, 2**31 - 1)
        libc.mallopt(-3, 2**30)
        libc.mallopt(-8, 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Discards standard error inside the block: TensorFlow writes to it before it reads its log level."""
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
