"""Settings of a training run: names, types, defaults, and checks."""

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.schema import Schema

ALL = ("all",)
"""Stands for all channels of the dataset, in its order, until the run starts."""

FROM_DATASET = 0
"""Stands for the size of the dataset until the run starts."""

CHOICES = {
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine"),
    "loss": ("cross-entropy", "focal", "asymmetric"),
    "augment": ("none", "d4"),
    "backbone": ("resnet", "densenet-121", "efficientnet-v2-b0", "convnext-tiny"),
    "pooling": ("avg", "avg-max"),
    "test_time": ("one", "flips", "d4", "crops"),
    "precision": ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
}
AT_LEAST_ONE = (
    "downsample", "width", "epochs", "batch_size", "accumulate", "shuffle_buffer", "log_every", "save_every"
)  # fmt: skip
NOT_NEGATIVE = (
    "size", "oversample", "crop", "rotation", "scale", "shear", "brightness", "mixup", "dropout", "weight_decay",
    "clip_norm", "warmup_epochs", "ema", "patience", "seed",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that determines what a run computes, except the dataset.

    Two runs with equal settings on the same dataset and machine see the same batches and compute the same losses,
    to the bit if `deterministic`.
    """

    preset: str

    # Input
    size: int = 256
    """Pixels a side of the dataset's images; 0 takes any size, and the run records it."""
    channels: tuple[str, ...] = ALL
    """Names of channels, or `all`; the run records their names."""
    downsample: int = 1
    """Side, in pixels, of the boxes over which images are averaged before the network."""
    oversample: float = 0.0
    """Threshold t of the repeat factors: an example of a class in a share f of train is shown sqrt(t / f) times in an
    epoch, if f is below t; 0 is off, 1 balances all classes by the square root of their share."""
    shuffle_buffer: int = 1024
    """Number of serialised examples in the shuffle buffer, not counting repeats; each takes 256 KiB at 256 x 256."""
    limit_examples: int | None = None
    """Use only the first examples of each split, at most this many."""

    # Augmentation, on the device
    augment: str = "none"
    crop: int = 0
    """Side, in pixels, of the random crops that training sees, while whole images are scored; 0 is off."""
    rotation: float = 0.0
    """Images are rotated by up to this many degrees, either way."""
    scale: float = 0.0
    """Images are scaled by a factor between 1 / (1 + this) and 1 + this."""
    shear: float = 0.0
    """Images are sheared by up to this many degrees, either way."""
    brightness: float = 0.0
    """Intensities are scaled by a random factor within 1 +- this, per example and channel."""
    mixup: float = 0.0
    """Parameter of the beta distribution of the mixing weights; 0 is off."""

    # Network
    backbone: str = "resnet"
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Number of blocks in each stack of the ResNet; the default, with a width of 64, is ResNet-50."""
    width: int = 64
    extra_conv: bool = False
    """Whether identity blocks have one more 3 x 3 convolution."""
    pooling: str = "avg"
    """Mean of each feature map, or mean and maximum."""
    dropout: float = 0.0
    """Share of the pooled features that are set to 0 in training."""
    norm_momentum: float = 0.9
    """Momentum of the moving statistics of batch normalisation, as in the published ResNet. Keras's default, 0.99,
    adapts too slowly in the short epochs of small datasets."""
    weights: str | None = None
    """`imagenet`, or a file with the weights of the backbone in `keras.applications`."""
    prior: float | None = None
    """Share of positive labels, which sets the initial probability of every output; with `None`, that is 0.5."""

    # Optimisation
    epochs: int = 30
    patience: int = 0
    """Training stops after this many epochs in a row without a lower dev loss; 0 is off."""
    batch_size: int = 16
    accumulate: int = 1
    """Number of steps whose mean gradient makes one update. Steps, epochs and schedules still count batches."""
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    """Largest norm of the gradient of all weights together; a larger one is scaled down. 0 is off."""
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    loss: str = "cross-entropy"
    """Binary for each class, or over all classes if the dataset is single-label."""
    ema: float = 0.0
    """Momentum of the moving averages of weights and batch-norm statistics, which are evaluated and kept; 0 is off."""
    precision: str = "auto"
    seed: int = 0
    deterministic: bool = False
    """Whether TensorFlow computes the same losses to the bit in every process; on a CPU several times slower."""

    # Evaluation
    test_time: str = "one"
    """Views of an image whose probabilities are averaged, see `classifier.views_of`."""

    # Logging and checkpoints
    log_every: int = 20
    """Number of steps that a row of `steps.csv` averages."""
    save_every: int = 500
    """Number of steps between checkpoints; there is also one at the end of each epoch."""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            _check(getattr(self, name) in choices, self, name, f"one of {', '.join(choices)}")
        if not all(self.channels) or not self.channels or len(set(self.channels)) < len(self.channels):
            raise InputError(f"channels {','.join(self.channels)!r}: expected names, each at most once, or all")
        for name in AT_LEAST_ONE:
            _check(getattr(self, name) >= 1, self, name, "1 or more")
        for name in NOT_NEGATIVE:
            _check(getattr(self, name) >= 0, self, name, "0 or more")
        _check(self.learning_rate > 0, self, "learning_rate", "more than 0")
        _check(self.ema < 1, self, "ema", "less than 1")
        _check(0 <= self.norm_momentum < 1, self, "norm_momentum", "at least 0 and less than 1")
        # At 90 degrees, a sheared image is a line.
        _check(self.shear < 90, self, "shear", "less than 90")
        _check(self.dropout < 1, self, "dropout", "less than 1")
        _check(
            self.crop % self.downsample == 0, self, "crop", f"a multiple of the factor downsample, {self.downsample}"
        )
        _check(self.test_time != "crops" or self.crop > 0, self, "test_time", "another while crop is 0")
        if self.size:
            _check(self.crop <= self.size, self, "crop", f"at most the size {self.size}")
        _check(self.brightness < 1, self, "brightness", "less than 1")
        _check(self.oversample <= 1, self, "oversample", "a share of at most 1")
        _check(self.limit_examples is None or self.limit_examples >= 1, self, "limit_examples", "1 or more")
        _check(self.prior is None or 0 < self.prior < 1, self, "prior", "between 0 and 1")
        _check(self.size % self.downsample == 0, self, "downsample", f"a divisor of the size {self.size}")
        shaped = [name for name in ("blocks", "width", "extra_conv") if getattr(self, name) != FIELDS[name].default]
        _check(self.backbone == "resnet" or not shaped, self, "backbone", f"resnet with {', '.join(shaped)}")
        _check(len(self.blocks) >= 1 and min(self.blocks) >= 1, self, "blocks", "1 or more in each stack")

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values, tuples as lists."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def _check(holds: bool, settings: Settings, name: str, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} is {getattr(settings, name)!r}, expected {expected}")


FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def override(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    """Returns `settings` with some fields replaced by `values`.

    Raises:
        InputError: an unknown key, or a value of the wrong type or range; the message names the `source`.
    """
    _check_names(values, list(FIELDS), source)
    return dataclasses.replace(settings, **{name: _typed(name, value, source) for name, value in values.items()})


def parse(assignments: Sequence[str], source: str) -> dict[str, Any]:
    """Returns the values in texts like `epochs=5`; `none` is null, and tuples have commas.

    Raises:
        InputError: a text without `=`, an unknown name, or a value of the wrong type.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"{source} {assignment}: expected NAME=VALUE, like epochs=5")
        # The preset has its own option.
        _check_names([name.strip()], [field for field in FIELDS if field != "preset"], source)
        values[name.strip()] = _parsed(name.strip(), text.strip(), source)
    return values


def read_config(path: Path) -> dict[str, Any]:
    """Returns the object in the JSON file `path`.

    Raises:
        InputError: the file is not JSON, or not an object.
    """
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: JSON {type(values).__name__}, expected an object of settings")
    return values


def from_json(values: Mapping[str, Any], source: str) -> Settings:
    """Returns the settings that `to_json` wrote, in this version or an earlier one."""
    if values.get("loss") == "bce":  # its name before there were single-label datasets
        values = {**values, "loss": "cross-entropy"}
    if "test_time_flips" in values:  # from before there were other views
        values = {**values, "test_time": "flips" if values["test_time_flips"] else "one"}
        del values["test_time_flips"]
    return override(Settings(preset=str(values.get("preset"))), values, source)


def resolve(settings: Settings, size: int, channels: Sequence[str]) -> Settings:
    """Returns the settings with size and channels of a dataset in place of 0 and `all`."""
    return dataclasses.replace(
        settings,
        size=size if settings.size == FROM_DATASET else settings.size,
        channels=tuple(channels) if settings.channels == ALL else settings.channels,
    )


def check_fit(settings: Settings, schema: Schema, where: str) -> None:
    """Checks that the settings suit the dataset `where`, which is of that schema.

    Raises:
        InputError: the dataset has other channels, or the loss or prior is not for single labels.
    """
    if settings.channels != ALL and not set(settings.channels) <= set(schema.channel_names):
        raise InputError(
            f"preset {settings.preset}: channels {', '.join(settings.channels)}, but {where} of schema "
            f"'{schema.name}' has {', '.join(schema.channel_names)}: --preset any takes all, --channels chooses"
        )
    multi_label = {"loss": settings.loss == "asymmetric", "prior": settings.prior is not None}
    unfit = [f"{name} {getattr(settings, name)}" for name, given in multi_label.items() if given]
    if schema.single_label and unfit:
        raise InputError(
            f"preset {settings.preset}: {', '.join(unfit)}: only for examples with several labels, but {where} of "
            f"schema '{schema.name}' is single-label: --preset any suits both"
        )


def without_extension(requested: Settings, saved: Settings) -> Settings:
    """Returns `requested` without the changes that a run may be resumed with: more epochs, another patience."""
    return dataclasses.replace(requested, epochs=min(requested.epochs, saved.epochs), patience=saved.patience)


def differences(old: Settings, new: Settings) -> list[str]:
    """Returns a phrase for each setting that differs, with the value in `new` and in `old`."""
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in FIELDS)
    return [f"{name} {_as_text(now)} (was {_as_text(was)})" for name, was, now in pairs if was != now]


def smoke(settings: Settings) -> Settings:
    """Returns the settings of a short run, about a minute on two cores, with the same network, loss and augmentation.

    It averages images down to 64 x 64 and sees 96 examples of each split for two epochs: enough to show that
    everything works, not how well.
    """
    return dataclasses.replace(
        settings,
        downsample=max(1, settings.size // 64),
        limit_examples=96,
        epochs=2,
        batch_size=16,
        warmup_epochs=min(settings.warmup_epochs, 0.5),
        norm_momentum=0.5,
        # Nothing is downloaded.
        weights=None if settings.weights == "imagenet" else settings.weights,
        log_every=4,
        save_every=1000,
    )


def _check_names(names: Iterable[str], known: Sequence[str], source: str) -> None:
    if unknown := sorted(set(names) - set(known)):
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f", expected some of {', '.join(sorted(known))}"
        raise InputError(f"{source}: no such setting: {', '.join(unknown)}{hint}")


def _parsed(name: str, text: str, source: str) -> Any:
    """Returns the value of a setting from `text`; text of the wrong type raises `InputError`."""
    kind = _kind(name)
    if text.lower() in ("none", "null") and "None" in kind:
        value: Any = None
    elif kind.startswith("tuple[int"):
        value = tuple(_number(part, int) for part in text.split(","))
    elif kind.startswith("tuple"):
        value = tuple(part.strip() for part in text.split(","))
    elif kind.startswith("bool"):
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif kind.startswith(("int", "float")):
        value = _number(text, int if kind.startswith("int") else float)
    else:
        value = text
    return _typed(name, value, source)


def _number(text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text


def _kind(name: str) -> str:
    annotation = FIELDS[name].type
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _typed(name: str, value: Any, source: str) -> Any:
    kind = _kind(name)
    if kind.startswith("tuple"):
        value = tuple(value.split(",")) if isinstance(value, str) else value
        fits = isinstance(value, (list, tuple)) and all(isinstance(v, str if "str" in kind else int) for v in value)
        value = tuple(value) if fits else value
    elif value is None:
        fits = "None" in kind
    elif kind.startswith("float"):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        value = float(value) if fits else value
    else:
        expected = {"int": int, "str": str, "bool": bool}[kind.split(" ")[0]]
        fits = type(value) is expected
    if not fits:
        raise InputError(f"{source}: {name} is {value!r}, expected {kind.replace(' | None', ' or null')}")
    return value


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
