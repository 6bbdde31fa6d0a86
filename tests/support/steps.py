"""Two training steps with fixed weights, images and labels."""

import numpy as np

from pipeline.schema import HPA_KAGGLE_2018


def step_losses() -> dict[str, tuple[float, float]]:
    """Returns the losses of two steps by name of the loss; the second loss follows from the first update."""
    from model import backend

    backend.start()
    from model.network import classifier, optimizers
    from tests.support.datasets import tiny_settings

    losses = {}
    for loss in ("cross-entropy", "asymmetric"):
        settings = tiny_settings(optimizer="adamw", loss=loss, blocks=(1, 1), width=4)
        trainee = classifier.Trainee(
            classifier.build(settings, [0.1] * 4, [0.2] * 4, HPA_KAGGLE_2018), settings, HPA_KAGGLE_2018
        )
        trainee.build((None, 32, 32, 4))
        trainee.compile(optimizer=optimizers.make(settings, [10]), jit_compile=backend.jit_compile())
        rng = np.random.default_rng(0)
        for variable in trainee.classifier.variables:
            positive = "variance" in variable.path or "gamma" in variable.path
            variable.assign(1 + 0 * variable if positive else rng.normal(0, 0.1, variable.shape).astype(np.float32))
        images = rng.integers(0, 255, (16, 32, 32, 4), dtype=np.uint8)
        labels = (rng.random((16, 28)) < 0.1).astype(np.float32)
        first = float(trainee.train_on_batch(images, labels, return_dict=True)["loss"])
        trainee.reset_metrics()
        losses[loss] = first, float(trainee.train_on_batch(images, labels, return_dict=True)["loss"])
    return losses
