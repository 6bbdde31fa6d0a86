"""The training loop: trains epoch by epoch, keeps the best weights, and scores the splits at the end."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from model import backend, runs
from model.data import batches as data_batches
from model.data import damage
from model.data.dataset import Dataset
from model.data.order import Order, count_steps, repeat_factors
from model.network import classifier, initial, optimizers
from model.scores import metrics, thresholds
from model.training import checkpoints, norm_statistics
from model.training.clock import Clock
from model.training.recorder import Events, Recorder, learning_rate
from pipeline.errors import InputError
from pipeline.progress import Bar
from pipeline.schema import SPLITS
from pipeline.store import files

Log = Callable[[str], None]
Observe = Callable[[Mapping[str, float]], None]


@dataclasses.dataclass
class Session:
    """A run in progress: its data and their order, the model in training, and the recorder, which has the position."""

    run: runs.Run
    dataset: Dataset
    order: Order
    trainee: classifier.Trainee
    recorder: Recorder


def train(
    run: runs.Run,
    dataset: Dataset,
    *,
    resume: bool = False,
    log: Log = print,
    observe: Observe = lambda row: None,
) -> dict:
    """Trains the run to its end, and returns the content of `metrics.json`.

    `log` gets lines about progress, `observe` each row of `metrics.csv`.

    Raises:
        InputError: the dataset, the weights or the checkpoint do not fit the run.
        DivergedError: a loss or weight is not finite; the last good checkpoint is kept.
        StoppedError: a signal stopped the run, which can be resumed.
    """
    keras.utils.set_random_seed(run.settings.seed)
    keras.config.set_dtype_policy(backend.policy(run.settings.precision))
    with damage.named(dataset), files.named_errors(run.path), backend.all_devices() as num_devices:
        session = prepare(run, dataset, num_devices, log)
        if resume:
            restore(session, log)
        with session.recorder.stopping_on_signals():
            for epoch in range(session.recorder.position.epoch, run.settings.epochs):
                if is_patience_over(session):
                    log(f"dev loss has not been lower for {run.settings.patience} epochs: stopped")
                    break
                observe(train_epoch(session, epoch, log))
                session.recorder.check_stop()
        return score_splits(session, log)


def prepare(run: runs.Run, dataset: Dataset, num_devices: int, log: Log) -> Session:
    """Returns the session at the start of the run, and writes the first checkpoint if there is none."""
    settings = run.settings
    if settings.batch_size % num_devices:
        raise InputError(f"a batch of {settings.batch_size} cannot be shared by {num_devices} devices")
    num_replicas = backend.num_replicas(num_devices)
    if num_replicas > 1 and settings.accumulate > 1:
        raise InputError(
            f"accumulate is {settings.accumulate}: TensorFlow cannot accumulate gradients on {num_devices} devices; "
            "set it to 1, or choose KERAS_BACKEND=jax"
        )
    order = make_order(run, dataset)
    num_steps = [count_steps(dataset, order, epoch, settings.batch_size) for epoch in range(settings.epochs)]
    clock = Clock()
    if num_replicas > 1:
        log(f"{num_devices} devices of TensorFlow, without XLA; KERAS_BACKEND=jax compiles for several")
    trainee = make_trainee(run, num_steps, clock, num_replicas)
    recorder = Recorder(run, Events(run.path / "events"), clock, num_steps)
    recorder.set_model(trainee)
    if not run.last.exists():
        checkpoints.save(run.last, trainee, recorder.position)
    policy = keras.config.dtype_policy().name
    log(f"{trainee.classifier.count_params():,} parameters, {policy}, {backend.summary()}, {sum(num_steps):,} steps")
    return Session(run, dataset, order, trainee, recorder)


def make_order(run: runs.Run, dataset: Dataset) -> Order:
    """Returns the order of the training examples; with oversampling, it reads the labels of train."""
    settings = run.settings
    factors = None
    if settings.oversample:
        labels = data_batches.read_labels(dataset, "train", settings.limit_examples)
        factors = repeat_factors(labels, settings.oversample)
    return Order(settings.seed, settings.shuffle_buffer, factors, settings.limit_examples)


def make_trainee(run: runs.Run, num_steps: list[int], clock: Clock, num_replicas: int = 1) -> classifier.Trainee:
    """Returns the compiled model with all its variables, and pretrained weights if the settings ask for them."""
    settings = run.settings
    model = classifier.build(settings, run.mean, run.std, run.schema)
    if not run.last.exists():  # otherwise the checkpoint has the weights
        initial.load(run, model)
    trainee = classifier.Trainee(model, settings, run.schema, clock)
    trainee.build((None, *model.input_shape[1:]))
    trainee.compile(
        optimizer=optimizers.make(settings, num_steps, num_replicas),
        jit_compile=backend.jit_compile(settings.deterministic),
    )
    trainee.optimizer.build(trainee.trainable_variables)
    return trainee


def restore(session: Session, log: Log) -> None:
    """Restores the last checkpoint, and removes what a killed run recorded after it."""
    run = session.run
    session.recorder.restore()
    position = session.recorder.position
    for path in run.last.parent.glob(f"{files.TEMPORARY}*"):
        path.unlink()
    for path in (run.steps_csv, run.metrics_csv):
        runs.drop_rows_after(path, position.step)
    log(
        f"resumed at step {position.step:,}: epoch {min(position.epoch + 1, run.settings.epochs)}, "
        f"{position.step_in_epoch:,} steps in"
    )


def is_patience_over(session: Session) -> bool:
    """Returns whether as many epochs as the setting `patience` have passed since the lowest dev loss."""
    position, patience = session.recorder.position, session.run.settings.patience
    return 0 < patience < position.epoch - position.best_epoch


def train_epoch(session: Session, epoch: int, log: Log) -> dict[str, float]:
    """Trains the rest of the epoch, scores dev, records both, and saves; returns the row of `metrics.csv`."""
    settings, position = session.run.settings, session.recorder.position
    if position.step_in_epoch < session.recorder.num_steps[epoch]:  # not if it was stopped after the last step
        batches = data_batches.train_batches(
            session.dataset,
            session.order,
            epoch,
            channels=settings.channels,
            batch_size=settings.batch_size,
            skip=position.step_in_epoch,
        )
        session.trainee.fit(
            backend.prefetch_to_device(batches),
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[session.recorder],
        )
    loss = position.loss_sum / max(position.loss_steps, 1)
    with Bar(f"epoch {epoch + 1}/{settings.epochs}", leave=False, bar_format="{desc} scoring dev") as show:
        show(0, 1)
        dev_loss, counts = score_dev(session)
    row = record_epoch(session, loss, dev_loss, counts, log)
    position.epoch, position.step_in_epoch, position.loss_sum, position.loss_steps = epoch + 1, 0, 0.0, 0
    session.recorder.save(dev_loss)
    return row


def record_epoch(session: Session, loss: float, dev_loss: float, counts: metrics.Counts, log: Log) -> dict[str, float]:
    """Adds the epoch to `metrics.csv` and the events, logs a line about it, and returns its row."""
    position = session.recorder.position
    row = {
        "epoch": position.epoch + 1,
        "step": position.step,
        "loss": loss,
        "dev_loss": dev_loss,
        "dev_macro_f1": counts.macro_f1,
        "dev_macro_f1_present": counts.macro_f1_present,
        "learning_rate": learning_rate(session.trainee),
        **session.recorder.speed(),
    }
    runs.append_row(session.run.metrics_csv, row)
    session.recorder.events.write(
        position.step, {f"epoch/{name}": value for name, value in row.items() if name != "step"}
    )
    log(
        f"epoch {row['epoch']}/{session.run.settings.epochs}: loss {loss:.4f}, dev loss {dev_loss:.4f}, "
        f"dev macro F1 {counts.macro_f1:.4f}; {row['examples_per_second']:,} ex/s, waiting for data {row['waiting']:.1%}"
    )
    return row


def score_dev(session: Session) -> tuple[float, metrics.Counts]:
    """Returns loss and counts over dev, and keeps the weights if the loss is the lowest so far.

    These are the averaged weights if there are any. The loss decides, because the best macro F1 of many is partly
    luck: competitors who chose by macro F1 scored worse on the private leaderboard.
    """
    run, position = session.run, session.recorder.position
    with checkpoints.averaged(session.trainee):
        labels, logits = classifier.predict(session.trainee.classifier, eval_batches(session, "dev"))
        single_label = run.schema.single_label
        loss = classifier.loss_value(run.settings.loss, labels, logits, single_label=single_label)
        if loss < position.best_loss:
            position.best_loss, position.best_epoch = loss, position.epoch
            checkpoints.save_best(run.best, session.trainee.classifier)
    # A logit of 0 is a probability of 0.5.
    return loss, metrics.count(labels, thresholds.decide(logits, single_label=single_label, threshold=0.0))


def score_splits(session: Session, log: Log) -> dict:
    """Scores train, dev and test with the best weights, and returns what it writes to `metrics.json`."""
    run, position = session.run, session.recorder.position
    class_names, views, single_label = run.schema.classes, run.settings.test_time, run.schema.single_label
    trained = runs.load_classifier(run)
    dev_losses = norm_statistics.dev_losses(run, session.dataset, trained)
    log("dev loss {moving:.4f} as scored, {batch:.4f} if batches are normalised as in training".format(**dev_losses))
    model = classifier.with_probabilities(trained, run.settings, run.schema, views)
    result: dict[str, Any] = {
        "checkpoint": {
            "epoch": position.best_epoch + 1,
            "dev_loss": position.best_loss,
            **{f"dev_loss_{name}_statistics": loss for name, loss in dev_losses.items()},
        },
        "epochs": position.epoch,
        "stopped_early": position.epoch < run.settings.epochs,
        "threshold": None if single_label else thresholds.FIXED,
        "views": views,
        "limit_examples": run.settings.limit_examples,
        "synthetic": session.dataset.synthetic,
        "splits": {},
    }
    for split in SPLITS:
        labels, probabilities = classifier.predict(model, eval_batches(session, split))
        counts = metrics.count(labels, thresholds.decide(probabilities, single_label=single_label))
        result["splits"][split] = {"num_examples": len(labels), **counts.to_json(class_names)}
        if single_label:
            result["splits"][split]["balanced_accuracy"] = counts.balanced_accuracy
        num_absent = len(counts.absent(class_names))
        note = f" ({num_absent} classes absent, counted as 0)" if num_absent else ""
        balanced = f", balanced accuracy {counts.balanced_accuracy:.4f}" if single_label else ""
        log(f"{split:5} macro F1 {counts.macro_f1:.4f}{balanced}{note}")
    runs.write_json(run.metrics_json, result)
    return result


def eval_batches(session: Session, split: str) -> Any:
    """Returns the batches of the split, in storage order."""
    settings = session.run.settings
    return data_batches.eval_batches(
        session.dataset,
        split,
        channels=settings.channels,
        batch_size=max(settings.batch_size, 32),
        limit=settings.limit_examples,
    )
