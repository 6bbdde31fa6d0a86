"""Loss on dev with the moving statistics of batch normalisation and with those of each batch.

The two are close if the moving statistics fit the weights. Statistics that lag behind the weights, because a run was
short or their momentum high, make the first loss larger.
"""

from typing import Any

import keras
from keras import ops

from model import runs
from model.data.batches import eval_batches
from model.data.dataset import Dataset, num_limited
from model.network import classifier

SMALLEST = 128
"""Examples that a batch needs for the comparison. Statistics of 32 are so noisy that they alone raise the loss of a
well-trained model by 5%, those of 128 by less than 1%."""


class BatchStatistics(keras.layers.Layer):
    """Batch normalisation as in training, with the weights of `norm`, whose moving statistics stay as they are."""

    def __init__(self, norm: keras.layers.BatchNormalization) -> None:
        super().__init__(autocast=False, dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, x: Any) -> Any:
        """Returns `x` normalised by mean and variance over all axes but that of the channels."""
        channels = self.norm.axis % len(x.shape)
        # float32, as in Keras: squares of float16 overflow.
        values = ops.cast(x, "float32")
        mean, variance = ops.moments(values, [axis for axis in range(len(x.shape)) if axis != channels])
        gamma, beta, epsilon = self.norm.gamma, self.norm.beta, self.norm.epsilon
        return ops.cast(ops.batch_normalization(values, mean, variance, channels, beta, gamma, epsilon), x.dtype)


def with_batch_statistics(trained: keras.Model) -> keras.Model:
    """Returns a model with the same layers, in which only batch normalisation works as in training."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchStatistics(layer)(*args)
        return layer(*args, **kwargs)

    return keras.models.clone_model(trained, clone_function=lambda layer: layer, call_function=call, recursive=True)


def dev_losses(run: runs.Run, dataset: Dataset, trained: keras.Model) -> dict[str, float]:
    """Returns the loss on dev of the classifier `trained` with `moving` and with `batch` statistics.

    Both are of the same examples: the whole batches of dev, of the size in training but at least `SMALLEST`, or all of
    dev if it is smaller than a batch. The rest of dev would be a batch of a few examples, whose statistics say little.
    """
    settings, single_label = run.settings, run.schema.single_label
    batch_size = max(settings.batch_size, SMALLEST)
    num = num_limited(dataset, "dev", settings.limit_examples)
    losses = {}
    for name, model in (("moving", trained), ("batch", with_batch_statistics(trained))):
        batches = eval_batches(
            dataset,
            "dev",
            channels=settings.channels,
            batch_size=min(batch_size, num),
            limit=num - num % batch_size or num,
        )
        labels, logits = classifier.predict(model, batches)
        losses[name] = classifier.loss_value(settings.loss, labels, logits, single_label=single_label)
    return losses
