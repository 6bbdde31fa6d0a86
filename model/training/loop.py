"""The training loop: build, go on from where a run stands, fit epoch by epoch, keep the best, score the splits."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from model import backend, runs
from model.data import batches as data_batches
from model.data.dataset import Dataset, check_batch_size, check_splits
from model.data.order import Order, count_steps, repeat_factors
from model.network import classifier, optimizers, pretrained
from model.scores import metrics
from model.training import checkpoints, recorder
from model.training.checkpoints import Position
from model.training.recorder import Clock, Events, Recorder
from pipeline.errors import InputError
from pipeline.schema import SPLITS


@dataclasses.dataclass
class Session:
    """What the loop works with: the run, its data in its order, the model, and where it stands."""

    run: runs.Run
    dataset: Dataset
    order: Order
    num_steps: list[int]
    trainee: classifier.Trainee
    position: Position
    recorder: Recorder
    events: Events


def train(run: runs.Run, dataset: Dataset, *, resume: bool = False, say: Callable[[str], None] = print) -> dict:
    """Trains the run to its end, and returns what `metrics.json` then says.

    Raises:
        InputError: the dataset, the weights or the checkpoint do not fit the run.
        DivergedError: the loss became NaN; the last good checkpoint is kept.
        StoppedError: a signal; the run can be resumed.
    """
    backend.deterministic_on_cpu()
    keras.utils.set_random_seed(run.settings.seed)
    keras.config.set_dtype_policy(backend.policy(run.settings.precision))
    with backend.all_devices() as num_devices:
        session = prepare(run, dataset, num_devices, say)
        if resume:
            go_on(session, say)
        with recorder.stopping_gently(session.recorder):
            try:
                for epoch in range(session.position.epoch, run.settings.epochs):
                    train_epoch(session, epoch, say)
            finally:
                session.recorder.close()
        return score_splits(session, say)


def prepare(run: runs.Run, dataset: Dataset, num_devices: int, say: Callable[[str], None]) -> Session:
    """Returns everything the loop needs, at the start of the run, with the first checkpoint written."""
    settings = run.settings
    check_splits(dataset)
    check_batch_size(dataset, settings.batch_size, settings.limit_examples)
    if settings.batch_size % num_devices:
        raise InputError(f"a batch of {settings.batch_size} cannot be shared by {num_devices} devices")
    order = make_order(run, dataset)
    num_steps = [count_steps(dataset, order, epoch, settings.batch_size) for epoch in range(settings.epochs)]
    position, clock, events = Position(), Clock(), Events(run.path / "events")
    trainee = make_trainee(run, num_steps, clock)
    watcher = Recorder(run, position, events, clock, num_steps)
    watcher.set_model(trainee)
    if not run.last.exists():
        checkpoints.save(run.last, trainee, position)
    policy = keras.config.dtype_policy().name
    say(f"{trainee.count_params():,} parameters, {policy}, {backend.summary()}, {sum(num_steps):,} steps")
    return Session(run, dataset, order, num_steps, trainee, position, watcher, events)


def make_order(run: runs.Run, dataset: Dataset) -> Order:
    """Returns the order of the run's examples; repeat factors need the labels, so that train is read once more."""
    settings = run.settings
    factors = None
    if settings.oversample:
        labels = data_batches.read_labels(dataset, "train", settings.limit_examples)
        factors = repeat_factors(labels, settings.oversample)
    return Order(settings.seed, settings.shuffle_buffer, factors, settings.limit_examples)


def make_trainee(run: runs.Run, num_steps: list[int], clock: Clock) -> classifier.Trainee:
    """Returns the model with its optimiser, all variables made, pretrained weights copied in."""
    settings = run.settings
    model = classifier.build(settings, run.mean, run.std, num_classes=len(run.dataset["class_names"]))
    if settings.weights and not run.last.exists():  # else the checkpoint brings the weights
        source = pretrained.source_model(settings.weights)
        pretrained.copy_weights(source, classifier.body(model), settings.channels)
    trainee = classifier.Trainee(model, settings, clock)
    trainee.build((None, *model.input_shape[1:]))
    trainee.compile(optimizer=optimizers.make(settings, num_steps), jit_compile=backend.jit_compile())
    trainee.optimizer.build(trainee.trainable_variables)
    return trainee


def go_on(session: Session, say: Callable[[str], None]) -> None:
    """Brings the run back to its last checkpoint, and drops what was written down after it."""
    run, at = session.run, session.position
    stored = checkpoints.restore(run.last, session.trainee)
    for field in dataclasses.fields(stored):
        setattr(at, field.name, getattr(stored, field.name))
    session.recorder.keep_window()
    for path in (run.steps_csv, run.metrics_csv):
        runs.drop_rows_after(path, at.step)
    say(f"resumed at step {at.step:,}: epoch {min(at.epoch + 1, run.settings.epochs)}, {at.step_in_epoch:,} steps in")


def train_epoch(session: Session, epoch: int, say: Callable[[str], None]) -> None:
    """Trains what is left of the epoch, scores dev, keeps the weights if they are the best, and saves."""
    settings, at, watcher = session.run.settings, session.position, session.recorder
    batches = data_batches.train_batches(
        session.dataset,
        session.order,
        epoch,
        channels=settings.channels,
        batch_size=settings.batch_size,
        skip=at.step_in_epoch,
    )
    session.trainee.fit(
        backend.prefetch_to_device(batches),
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=0,
        callbacks=[watcher],
    )
    loss = at.loss_sum / max(at.loss_steps, 1)
    dev_loss, counts = score_dev(session)
    row = {
        "epoch": epoch + 1,
        "step": at.step,
        "loss": loss,
        "dev_loss": dev_loss,
        "dev_macro_f1": counts.macro_f1,
        "dev_macro_f1_present": counts.macro_f1_present,
        "learning_rate": recorder.learning_rate(session.trainee),
        "seconds": round(watcher.seconds, 3),
        "examples_per_second": round(watcher.examples_per_second, 1),
        "waiting": round(watcher.share_waited, 4),
    }
    runs.append_row(session.run.metrics_csv, row)
    session.events.write(at.step, {f"epoch/{name}": value for name, value in row.items() if name != "step"})
    say(
        f"epoch {epoch + 1}/{settings.epochs}: loss {loss:.4f}, dev loss {dev_loss:.4f}, "
        f"dev macro F1 {counts.macro_f1:.4f}; {row['examples_per_second']:,} ex/s, waiting {row['waiting']:.1%}"
    )
    at.epoch, at.step_in_epoch, at.loss_sum, at.loss_steps = epoch + 1, 0, 0.0, 0
    watcher.save(dev_loss if session.dataset.num_examples.get("dev") else loss)


def score_dev(session: Session) -> tuple[float, metrics.Counts]:
    """Returns loss and counts over the whole of dev, by the averaged weights if there are any.

    The best checkpoint is the one of the lowest loss: the best macro F1 of many is partly luck, and choosing
    by it has cost competitors places.
    """
    run, at = session.run, session.position
    with checkpoints.averaged(session.trainee):
        labels, logits = classifier.predict(session.trainee.classifier, eval_batches(session, "dev"))
        loss = classifier.loss_value(run.settings.loss, labels, logits)
        if loss < at.best_loss:
            at.best_loss, at.best_epoch = loss, at.epoch
            checkpoints.save_best(run.best, session.trainee.classifier)
    return loss, metrics.at_threshold(labels, logits, threshold=0.0)  # a logit of 0 is a probability of 0.5


def score_splits(session: Session, say: Callable[[str], None]) -> dict:
    """Scores train, dev and test by the best weights, writes `metrics.json`, and returns what is in it."""
    run = session.run
    model = runs.load_classifier(run)
    model = classifier.with_probabilities(model, flips=run.settings.test_time_flips)
    result: dict[str, Any] = {
        "checkpoint": {"epoch": session.position.best_epoch + 1, "dev_loss": session.position.best_loss},
        "threshold": 0.5,
        "test_time_flips": run.settings.test_time_flips,
        "limit_examples": run.settings.limit_examples,
        "synthetic": session.dataset.synthetic,
        "splits": {},
    }
    for split in SPLITS:
        labels, probabilities = classifier.predict(model, eval_batches(session, split))
        counts = metrics.at_threshold(labels, probabilities)
        result["splits"][split] = {"num_examples": len(labels), **counts.to_json(run.dataset["class_names"])}
        absent = f" ({len(counts.absent(run.dataset['class_names']))} classes absent, counted as 0)"
        say(f"{split:5} macro F1 {counts.macro_f1:.4f}{absent if not counts.support.all() else ''}")
    runs.write_json(run.metrics_json, result)
    return result


def eval_batches(session: Session, split: str) -> Any:
    """Returns the batches of the split, as far as the run's settings limit it."""
    settings = session.run.settings
    return data_batches.eval_batches(
        session.dataset,
        split,
        channels=settings.channels,
        batch_size=max(settings.batch_size, 32),
        limit=settings.limit_examples,
    )
