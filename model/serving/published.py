"""A split of a published dataset, as input for predictions."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from model import runs
from model.data import damage
from model.data.batches import eval_batches
from model.data.dataset import Dataset
from model.serving import scoring
from model.serving.raw import BadImage
from model.settings import Settings


@dataclasses.dataclass(frozen=True)
class PublishedImages:
    """The examples of a split; none of them is bad."""

    dataset: Dataset
    split: str
    bad: tuple[BadImage, ...] = ()

    @property
    def path(self) -> Path:
        return self.dataset.path

    def batches(
        self, settings: Settings, batch_size: int, on_progress: Callable[[int, int], None]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields ids and images, uint8 or uint16 `[B, S, S, C]` with the channels of `settings`, in storage order."""
        done, total = 0, self.dataset.num_examples[self.split]
        batches = eval_batches(self.dataset, self.split, channels=settings.channels, batch_size=batch_size)
        with damage.named(self.dataset):
            for batch in batches.as_numpy_iterator():
                yield [key.decode() for key in batch.ids.tolist()], batch.images
                done += len(batch.images)
                on_progress(done, total)


def open_published(run: runs.Run, split: str, data_dir: Path | None, *, other: bool) -> PublishedImages:
    """Returns a split of the run's dataset (see `scoring.open_dataset`).

    Raises:
        MissingError: the dataset does not exist.
        InputError: it is not the run's, or the split is empty.
    """
    return PublishedImages(scoring.open_dataset(run, [split], data_dir, other=other), split)
