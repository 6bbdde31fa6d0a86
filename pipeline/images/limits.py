"""Limits of image files, checked before anything is read, and what is raised for files beyond them."""

MAX_SIDE = 8192
"""Largest width or height that is decoded, in pixels; the atlas's originals are 2048, 3072 or 4096."""

MAX_FILE_BYTES = 2 * MAX_SIDE * MAX_SIDE
"""Largest file that is read, in bytes: an uncompressed 16-bit image of `MAX_SIDE`."""


class Unusable(ValueError):
    """A file that is there and cannot be used, however often it is read. `code` is one of `stack.CODES`."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code, self.detail = code, detail


def check_bytes(num_bytes: int) -> None:
    """Checks the size of a file before it is read.

    Raises:
      Unusable: it is larger than `MAX_FILE_BYTES`.
    """
    if num_bytes > MAX_FILE_BYTES:
        raise Unusable("too_large", f"the file has {num_bytes:,} bytes, expected at most {MAX_FILE_BYTES:,}")
