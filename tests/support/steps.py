"""A few training steps with fixed weights, images and labels."""

import numpy as np

from pipeline.schema import HPA_KAGGLE_2018

STEPS = {
    "cross-entropy": {},
    "asymmetric": {"loss": "asymmetric"},
    "averaged": {"ema": 0.9, "accumulate": 2, "clip_norm": 0.5},
}
"""Names of what is compared, and settings."""


def step_losses() -> dict[str, tuple[float, ...]]:
    """Returns the losses of three steps and that of the final weights, averaged if they are, by the names in `STEPS`.

    A loss follows from the update before it.
    """
    from model import backend

    backend.start()
    from model.network import classifier, optimizers
    from model.training import checkpoints
    from tests.support.datasets import tiny_settings

    losses = {}
    for name, values in STEPS.items():
        settings = tiny_settings(optimizer="adamw", blocks=(1, 1), width=4, **values)
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
        found = []
        for _ in range(3):
            trainee.reset_metrics()
            found.append(float(trainee.train_on_batch(images, labels, return_dict=True)["loss"]))
        with checkpoints.averaged(trainee):
            logits = trainee.classifier.predict_on_batch(images)
        losses[name] = *found, classifier.loss_value(settings.loss, labels, logits, single_label=False)
    return losses
