"""Contenders of `python -m bench.gpu`: each trains ResNet-50 in this process, and prints its figures as JSON.

    python -m bench.gpu.contenders fit '{"data_dir": "build/gpu", ...}'

`fit` and `device-fed` use the network and the compiled step of `model.train`, without the paper's additional
convolutions. `fit` reads batches from the dataset; `device-fed` reuses one batch that stays on the device, as an upper
bound. `torchvision` is that library's ResNet-50 with as many channels and classes, fed like `device-fed`.
"""

import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from model.training.clock import Clock


@dataclasses.dataclass(frozen=True)
class Work:
    """What every contender does: `warmup` untimed steps, then `steps` timed ones."""

    data_dir: str
    size: int = 256
    width: int = 64
    batch_size: int = 256
    steps: int = 100
    warmup: int = 10
    precision: str = "mixed_bfloat16"
    blocks: tuple[int, ...] = (3, 4, 6, 3)

    @property
    def num_steps(self) -> int:
        return self.warmup + self.steps

    def figures(self, seconds: float, waited: float = 0.0) -> dict[str, float]:
        """Returns images per second, milliseconds a step, and the share of the time spent waiting for batches."""
        return {
            "images_per_second": self.steps * self.batch_size / seconds,
            "step_ms": 1000 * seconds / self.steps,
            "waiting": waited / seconds,
        }


class OnDevice(Clock):
    """Gives the same batch in every step, in place of the next one."""

    def __init__(self, batch: tuple[Any, Any]) -> None:
        super().__init__()
        self._batch = batch

    def next_of(self, batches: Any) -> Any:
        next(batches)
        return self._batch


def fit(work: Work) -> dict[str, float]:
    """Trains on the dataset, as `model.train` does."""
    from model import backend
    from model.training import loop

    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        run, dataset, trainee = _trainee(work, Path(folder), clock)
        batches = _batches(work, dataset, loop.make_order(run, dataset), run.settings.channels)
        return _timed_fit(work, trainee, backend.prefetch_to_device(batches), clock)


def device_fed(work: Work) -> dict[str, float]:
    """Trains on one batch that stays on the device.

    Raises:
        RuntimeError: the backend is Torch, where Keras's fetching of batches cannot be replaced.
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() == "torch":
        raise RuntimeError("device-fed: expected KERAS_BACKEND tensorflow or jax, found torch")
    with tempfile.TemporaryDirectory() as folder:
        images, vectors = _random_batch(work)
        clock = OnDevice((_on_device(images), _on_device(vectors)))
        _, _, trainee = _trainee(work, Path(folder), clock)
        # Of one image: Keras takes shapes from the first batch, and batches that are replaced should cost nothing.
        placeholders = tf.data.Dataset.from_tensors((images[:1], vectors[:1])).repeat(work.num_steps)
        return _timed_fit(work, trainee, placeholders, clock)


def torchvision(work: Work, *, compiled: bool = False) -> dict[str, float]:
    """Trains torchvision's ResNet-50 on one batch that stays on the device; its width is always 64."""
    import torch
    import torchvision

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, vectors = (torch.from_numpy(array).to(device) for array in _random_batch(work))
    images = images.permute(0, 3, 1, 2)  # a view: channels stay last in memory
    network = torchvision.models.resnet50(num_classes=vectors.shape[1])
    network.conv1 = torch.nn.Conv2d(images.shape[1], 64, 7, 2, 3, bias=False)
    network = network.to(device, memory_format=torch.channels_last)
    step = torch.compile(network) if compiled else network
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=device == "cuda")
    began = 0.0
    for number in range(work.num_steps):
        with torch.autocast(device, torch.bfloat16, enabled=work.precision == "mixed_bfloat16"):
            logits = step(images.float() / 255)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), vectors)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if number + 1 in (work.warmup, work.num_steps):
            loss.item()  # waits for the device
            began, ended = (time.perf_counter(), 0.0) if number + 1 == work.warmup else (began, time.perf_counter())
    return work.figures(ended - began)


def torchvision_compiled(work: Work) -> dict[str, float]:
    """Like `torchvision`, compiled by `torch.compile`."""
    return torchvision(work, compiled=True)


CONTENDERS: dict[str, Callable[[Work], dict[str, float]]] = {
    "fit": fit,
    "device-fed": device_fed,
    "torchvision": torchvision,
    "torchvision-compiled": torchvision_compiled,
}


def describe() -> dict[str, Any]:
    """Returns the backend, its devices and the versions of the libraries."""
    from model import backend

    return {"device": f"{backend.summary()}: {_kind()}", "versions": backend.versions()}


def _kind() -> str:
    """Returns the name of the device that the backend uses."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return str(jax.devices()[0].device_kind)
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(found[0]).get("device_name")) if found else "cpu"


def _trainee(work: Work, folder: Path, clock: Clock) -> tuple[Any, Any, Any]:
    """Returns a run in `folder`, its dataset and the compiled model."""
    import keras

    from model import backend, presets, runs, settings
    from model.data.dataset import open_dataset
    from model.training import loop

    dataset = open_dataset(Path(work.data_dir), work.size)
    names = ("size", "width", "batch_size", "precision", "blocks")
    values = {name: getattr(work, name) for name in names}
    chosen = settings.override(presets.load("stacked-256"), {**values, "extra_conv": False}, "bench")
    run = runs.create(folder / "run", settings.resolve(chosen, work.size, dataset.channels), dataset, {})
    keras.config.set_dtype_policy(backend.policy(work.precision))
    return run, dataset, loop.make_trainee(run, [work.num_steps], clock)


def _batches(work: Work, dataset: Any, order: Any, channels: Any) -> Any:
    """Returns as many batches as there are steps, from consecutive epochs."""
    from model.data.batches import train_batches
    from model.data.order import count_steps

    per_epoch = count_steps(dataset, order, 0, work.batch_size)
    if not per_epoch:
        raise RuntimeError(f"fit: a train split of less than one batch of {work.batch_size}; raise --num")
    epochs = [
        train_batches(dataset, order, epoch, channels=channels, batch_size=work.batch_size)
        for epoch in range(-(-work.num_steps // max(per_epoch - 1, 1)))  # repeats vary an epoch's length
    ]
    return functools.reduce(lambda batches, further: batches.concatenate(further), epochs).take(work.num_steps)


def _timed_fit(work: Work, trainee: Any, batches: Any, clock: Clock) -> dict[str, float]:
    """Returns the figures of `fit` on the batches, without the untimed steps."""
    import keras

    marks: list[tuple[float, float]] = []

    class Marks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch + 1 in (work.warmup, work.num_steps):
                float(logs["loss"])  # waits for the device
                marks.append((time.perf_counter(), clock.waited))

    trainee.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[Marks()])
    (began, before), (ended, waited) = marks
    return work.figures(ended - began, waited - before)


def _random_batch(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Returns images uint8 `[B, S, S, 4]` and label vectors float32 `[B, 28]`."""
    rng = np.random.default_rng(0)
    shape = (work.batch_size, work.size, work.size, 4)
    vectors = rng.random((work.batch_size, 28)) < 0.06
    return rng.integers(0, 256, shape, np.uint8), vectors.astype(np.float32)


def _on_device(array: np.ndarray) -> Any:
    import keras

    return keras.ops.convert_to_tensor(array)


@click.command()
@click.argument("name", type=click.Choice([*CONTENDERS, "describe"]))
@click.argument("work", default="{}")
def main(name: str, work: str) -> None:
    """Run one contender, or describe the device, and print JSON."""
    if not name.startswith("torchvision"):  # TensorFlow's and Torch's compilers conflict
        from model import backend

        backend.start()
    click.echo(json.dumps(describe() if name == "describe" else CONTENDERS[name](Work(**json.loads(work)))))


if __name__ == "__main__":
    main()
