"""Contact sheet of the largest groups, for review by a person."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.images.sources import Images
from pipeline.images.stack import BadExample, read_channels
from pipeline.plan.manifest import file_names
from pipeline.plan.table import Example
from pipeline.schema import Schema

TILE = 192
"""Pixels a side of a picture."""

MAX_GROUPS = 20
MAX_MEMBERS = 8

_LINE = 15  # height of a line of text


def draw(
    members: Mapping[str, Sequence[str]], examples: Mapping[str, Example], images: Images, schema: Schema
) -> np.ndarray:
    """Returns uint8 `[rows * 192, columns * 192, 3]`: a row for each of the largest groups, with its first members.

    Args:
      members: `{group: ids}`, the largest first.
      examples: `{id: example}`.
      images: where their files are.
      schema: of the examples.
    """
    rows = [
        [
            _tile(examples[i], images, schema, f"{len(ids)}: {i}" if k == 0 else i)
            for k, i in enumerate(ids[:MAX_MEMBERS])
        ]
        for ids in list(members.values())[:MAX_GROUPS]
    ]
    columns = max(map(len, rows), default=1)
    empty = np.zeros((TILE, TILE, 3), np.uint8)
    return np.concatenate([np.concatenate(row + [empty] * (columns - len(row)), axis=1) for row in rows or [[empty]]])


def _tile(example: Example, images: Images, schema: Schema, title: str) -> np.ndarray:
    import cv2

    try:
        tile = composite(read_channels(images, file_names(schema, example), schema), schema)
    except BadExample:
        tile = np.zeros((TILE, TILE, 3), np.uint8)
    names = ", ".join(schema.classes[label] for label in example.labels)
    for top, text in ((0, title), (TILE - _LINE, names)):
        tile[top : top + _LINE] //= 4
        cv2.putText(tile, text, (3, top + _LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.32, (255,) * 3, 1, cv2.LINE_AA)
    return tile


def composite(channels: Sequence[np.ndarray], schema: Schema) -> np.ndarray:
    """Returns uint8 `[192, 192, 3]`: the channels in their colours, added; each from 0 to its brightest value."""
    import cv2

    mixed = np.zeros((TILE, TILE, 3), np.float32)
    for channel, image in zip(schema.channels, channels, strict=True):
        small = cv2.resize(image.astype(np.float32), (TILE, TILE), interpolation=cv2.INTER_AREA)
        colour = np.array([int(channel.colour[k : k + 2], 16) for k in (1, 3, 5)], np.float32)
        brightest = max(1.0, float(np.percentile(small, 99.8)))
        mixed += (small[..., None] / brightest * colour).astype(np.float32)
    return np.ascontiguousarray(np.clip(mixed, 0, 255).astype(np.uint8))
