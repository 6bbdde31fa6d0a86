"""Decodes image files of every format into planes."""

import numpy as np

from pipeline.images import jpeg, png, tiff
from pipeline.images.limits import Bad

_BY_ENDING = {
    ".png": png.decode,
    ".jpg": jpeg.decode,
    ".jpeg": jpeg.decode,
    ".tif": tiff.decode,
    ".tiff": tiff.decode,
}

_BY_SIGNATURE = {b"\xff\xd8\xff": jpeg.decode, b"II": tiff.decode, b"MM": tiff.decode}


def decode(name: str, data: bytes, bad: Bad, planes: int = 1) -> list[np.ndarray]:
    """Returns the planes of an image file, uint8 or uint16 `[height, width]` each, as stored.

    The file extension decides the format; without a known one, the content does.

    Raises:
      Exception: made by `bad(code, detail)`: the file is not an image of that format with that many planes, is too
        large or damaged.
    """
    _, dot, ending = name.rpartition(".")
    decoder = _BY_ENDING.get((dot + ending).lower())
    if decoder is None:
        decoder = next((found for start, found in _BY_SIGNATURE.items() if data.startswith(start)), png.decode)
    return decoder(data, bad, planes)
