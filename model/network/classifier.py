"""The classifier (images to logits), its predictions, and the Keras model that trains it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from model.data.batches import set_labels_aside
from model.network import augment, backbones, losses
from model.network.averages import Averages
from model.settings import Settings
from model.training.clock import Clock, timed
from pipeline.schema import Schema


def build(settings: Settings, mean: Sequence[float], std: Sequence[float], schema: Schema) -> keras.Model:
    """Returns the classifier: images `[B, S, S, C]` with the dataset's pixel values, any type, to logits.

    Logits are float32 `[B, classes]`. With `crop`, images may have any size: training sees crops, scoring whole
    images. `mean` and `std` are those of the chosen channels on the scale 0..1. Normalisation is a layer of the model,
    so the device receives integers, and a loaded model needs neither `mean` nor `std`.
    """
    side = None if settings.crop else settings.size
    shape = (side, side, len(settings.channels))
    # Not uint8: Keras casts inputs to this type, and brightness and mixup produce fractions.
    images = keras.Input(shape, dtype="float32", name="image")
    scale = [1 / (schema.max_value * s) for s in std]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="normalise")(images)
    if settings.downsample > 1:
        x = keras.layers.AveragePooling2D(settings.downsample, name="downsample")(x)
    small = side and side // settings.downsample
    body = backbones.network((small, small, shape[-1]), schema.num_classes, settings)
    return keras.Model(images, body(x), name="classifier")


def body(classifier: keras.Model) -> keras.Model:
    """Returns the network inside the classifier, from normalised images to logits."""
    return classifier.get_layer("backbone")


def with_probabilities(classifier: keras.Model, settings: Settings, schema: Schema, views: str = "one") -> keras.Model:
    """Returns a model from images `[B, S, S, C]` to probabilities, float32 `[B, classes]`, with shared weights.

    Those of a single-label schema add up to 1. They are the mean over the `views` of each image, see `views_of`.
    """
    images = keras.Input((settings.size, settings.size, len(settings.channels)), dtype="float32", name="image")
    activation = ops.softmax if schema.single_label else ops.sigmoid
    outputs = [activation(classifier(view)) for view in views_of(images, views, settings.crop)]
    mean = ops.mean(ops.stack(outputs), axis=0) if len(outputs) > 1 else outputs[0]
    return keras.Model(images, mean, name="probabilities")


def views_of(images: Any, views: str, crop: int = 0) -> list[Any]:
    """Returns the views of images `[B, S, S, C]` that probabilities are averaged over.

    They are the image alone (`one`); with its two mirror images and its rotation by 180 degrees (`flips`); these four
    and their transposes (`d4`); or its four corners and its centre, `crop` pixels a side, and their mirror images
    (`crops`, Krizhevsky et al. 2012).
    """
    if views == "one":
        return [images]
    if views == "crops":
        room = images.shape[1] - crop
        places = [(0, 0), (0, room), (room, 0), (room, room), (room // 2, room // 2)]
        cuts = [images[:, top : top + crop, left : left + crop] for top, left in places]
        return [view for cut in cuts for view in (cut, ops.flip(cut, 2))]
    if views == "d4":
        return views_of(images, "flips") + views_of(ops.transpose(images, (0, 2, 1, 3)), "flips")
    return [images, ops.flip(images, 1), ops.flip(images, 2), ops.flip(images, (1, 2))]


def predict(model: keras.Model, batches: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns label vectors, uint8, and the model's outputs, float32, `[N, classes]` each, from one pass.

    `batches` are those of `eval_batches`.
    """
    images, label_vectors = set_labels_aside(batches)
    outputs = np.asarray(model.predict(images, verbose=0), np.float32)
    return np.concatenate(label_vectors), outputs


class Trainee(keras.Model):
    """The classifier in training, with augmentation before it and the loss after it."""

    def __init__(self, classifier: keras.Model, settings: Settings, schema: Schema, clock: Clock | None = None) -> None:
        super().__init__(name="trainee")
        self.classifier = classifier
        self._clock = clock
        seeds = np.random.SeedSequence([settings.seed, 1]).generate_state(4) >> 1
        self.augmentation = augment.layers(settings, schema.max_value, seeds[[0, 3, 1]])
        self.weigh = augment.MixingWeights(settings.mixup, int(seeds[2])) if settings.mixup else None
        self.loss_of_logits = losses.make(settings.loss, single_label=schema.single_label)
        self.averages = Averages(self, classifier, settings.ema, settings.accumulate) if settings.ema else None

    def build(self, input_shape: Any) -> None:
        """Does nothing: the classifier is built already, and augmentation has no weights."""
        self.built = True

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Returns `logits`, and in training with mixup the weight of each example as `kept`."""
        outputs = {}
        if keras.backend.standardize_dtype(images.dtype) == "uint16":
            # Few operations have kernels for uint16 on a GPU; float32 holds every value exactly.
            images = ops.cast(images, "float32")
        if training:
            for layer in self.augmentation:
                images = layer(images)
            if self.weigh:
                outputs["kept"] = self.weigh(images)
                images = augment.mix(images, outputs["kept"])
        outputs["logits"] = self.classifier(images, training=training)
        return outputs

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the mean loss of the batch; where images were mixed, labels are mixed the same way."""
        if "kept" in y_pred:
            y = augment.mix(y, y_pred["kept"])
        return self.loss_of_logits(y, y_pred["logits"])

    def train_step(self, *args: Any) -> Any:
        """Trains on a batch, then updates the averages; takes and returns what Keras does on each backend."""
        result = super().train_step(*args)
        if self.averages is None:
            return result
        if keras.backend.backend() != "jax":
            self.averages.update()
            return result
        # With JAX, a step is a function of the state, which is in lists.
        logs, state = result
        variables = (self.trainable_variables, self.non_trainable_variables)
        pairs = [
            pair for group, values in zip(variables, state, strict=False) for pair in zip(group, values, strict=True)
        ]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            self.averages.update()
        averaged = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        return logs, (state[0], averaged, *state[2:])

    def make_train_function(self, force: bool = False) -> None:
        """Makes the compiled step; the clock measures the wait for its batches."""
        is_new = force or self.train_function is None  # type: ignore[has-type]
        super().make_train_function(force)
        if is_new and self._clock and keras.backend.backend() != "torch":
            self.train_function = timed(self.train_function, self._clock)  # type: ignore[has-type]


def loss_value(name: str, label_vectors: np.ndarray, logits: np.ndarray, *, single_label: bool) -> float:
    """Returns the mean loss over all logits at once, which is exact whatever the batch size was."""
    loss = losses.make(name, single_label=single_label)
    # Not `loss(...)`, which divides by the number of devices in the scope of a distribution strategy.
    return float(ops.mean(loss.call(ops.convert_to_tensor(label_vectors, "float32"), ops.convert_to_tensor(logits))))
