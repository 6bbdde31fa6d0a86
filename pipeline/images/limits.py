"""Size limits of images, checked before they are read and decoded."""

from collections.abc import Callable

from pipeline.schema.declared import MAX_PLANES

MAX_SIDE = 8192
"""Largest width or height that is decoded, in pixels; the atlas's originals are 2048, 3072 or 4096."""


class BadImage(ValueError):
    """An image that cannot be used: its channel, a `code` of `stack.CODES` and a detail."""

    def __init__(self, filter_name: str, code: str, detail: str):
        super().__init__(filter_name, code, detail)
        self.filter, self.code, self.detail = filter_name, code, detail


class Unusable(ValueError):
    """A file that exists but cannot be used, however often it is read. `code` is one of `stack.CODES`."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code, self.detail = code, detail


Bad = Callable[[str, str], Exception]
"""Makes the exception to raise, a `BadImage`, from a code and a detail."""


def max_bytes(planes: int) -> int:
    """Returns the size of the largest file that is decoded: uncompressed, of 16 bits, in bytes."""
    return 2 * MAX_SIDE * MAX_SIDE * planes


MAX_BYTES = max_bytes(MAX_PLANES)
"""Size of the largest file of any schema, in bytes."""


def check_size(num_bytes: int, limit: int = MAX_BYTES) -> None:
    """Checks the size of a file before it is read.

    Raises:
      Unusable: it is larger than `limit`.
    """
    if num_bytes > limit:
        raise Unusable("too_large", too_large(num_bytes, limit))


def too_large(num_bytes: int, limit: int) -> str:
    """Returns the message about a file of `num_bytes` bytes."""
    return f"the file has {num_bytes:,} bytes, expected at most {limit:,}"


def check_bytes(data: bytes, kind: str, planes: int, bad: Bad) -> None:
    """Raises `bad(...)` for an empty file or one that is too large."""
    if not data:
        raise bad("empty", f"the file has 0 bytes, expected a {kind} image")
    if len(data) > max_bytes(planes):
        raise bad("too_large", too_large(len(data), max_bytes(planes)))


def check_side(width: int, height: int, bad: Bad) -> None:
    """Raises `bad(...)` for an image whose header claims no pixels or too many."""
    if max(width, height) > MAX_SIDE:
        raise bad("too_large", f"the header claims {width}x{height}, expected at most {MAX_SIDE}x{MAX_SIDE}")
    if min(width, height) < 1:
        raise bad("unreadable", f"damaged: the header claims {width}x{height} pixels")
