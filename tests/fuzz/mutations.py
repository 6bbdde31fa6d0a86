"""Damage to bytes, text and JSON."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
"""Counts at which lengths and offsets of many formats overflow."""

TEXTS = (
    "", " ", "0", "-1", "1e999", "nan", "null", "=1+1", "@x", "\x1b[2J", "\u202e", "\0", "'", '"', ",", ";", "|", "\n",
    "..", "../x", "/", "a/../b", "\\", "%s", "{id}", "{", "}", "{0.__class__}", "\ufeff", "é", "\U0001f52c", "a" * 300,
)  # fmt: skip
"""Words that text formats give a meaning, or that screens and spreadsheets do."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e308, float("inf"), float("nan"),
    [], {}, [[]], [None], [0, 0], {"": None}, *TEXTS, "\ud800",
)  # fmt: skip
"""Values of JSON that a reader may not expect."""


def damage(rng: random.Random, data: bytes, tokens: Sequence[bytes] = (), times: int | None = None) -> bytes:
    """Returns data with one to four places flipped, replaced, removed, inserted, repeated, cut or set to a number."""
    out = bytearray(data)
    for _ in range(times or rng.choice((1, 1, 1, 2, 4))):
        _damage_once(rng, out, tokens)
    return bytes(out)


def _damage_once(rng: random.Random, out: bytearray, tokens: Sequence[bytes]) -> None:
    if not out:
        out += rng.randbytes(rng.randrange(9))
        return
    position, length = rng.randrange(len(out)), rng.choice((1, 1, 2, 4, 8, 64))
    match rng.randrange(9 if tokens else 8):
        case 0:
            out[position] ^= 1 << rng.randrange(8)
        case 1:
            out[position : position + length] = rng.randbytes(length)
        case 2:
            del out[position : position + length]
        case 3:
            out[position:position] = rng.randbytes(length)
        case 4:
            out[position:position] = out[position : position + length]
        case 5:
            del out[position:]
        case 6:
            other = rng.randrange(len(out))
            out[position : position + length] = out[other : other + length]
        case 7:
            number, width = rng.choice(NUMBERS) + rng.choice((-1, 0, 0, 1)), rng.choice((1, 2, 4, 8))
            order = rng.choice(("little", "big"))
            out[position : position + width] = (number % 256**width).to_bytes(width, order)
        case _:
            token = rng.choice(tokens)
            out[position : position + rng.choice((0, len(token)))] = token


def splice(rng: random.Random, first: bytes, second: bytes) -> bytes:
    """Returns the start of one input and the end of another."""
    return first[: rng.randrange(len(first) + 1)] + second[rng.randrange(len(second) + 1) :]


def damage_json(rng: random.Random, value: Any, times: int | None = None) -> Any:
    """Returns plain values with one to three of them replaced, removed, repeated, renamed or wrapped."""
    root = [copy.deepcopy(value)]
    for _ in range(times or rng.choice((1, 1, 2, 3))):
        _damage_node(rng, root)
    return root[0]


def _damage_node(rng: random.Random, root: list[Any]) -> None:
    parent, key = _place(rng, root)
    found = parent[key]
    match rng.randrange(6):
        case 0 | 1:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
        case 2 if parent is not root:
            del parent[key]
        case 3 if isinstance(parent, dict):
            parent[rng.choice((str(key).upper(), f"{key}_", *TEXTS))] = parent.pop(key)
        case 3 if parent is not root:
            parent.insert(key, copy.deepcopy(found))
        case 4:
            parent[key] = rng.choice(([found], {"x": found}, [found, found], str(found)))
        case _:
            parent[key] = _nudged(rng, found)


def _place(rng: random.Random, root: list[Any]) -> tuple[Any, Any]:
    """Returns a container and a key or index in it, chosen on a random path."""
    parent, key = root, 0
    while True:
        here = parent[key]
        keys = list(here) if isinstance(here, dict) else list(range(len(here))) if isinstance(here, list) else []
        if not keys or rng.random() < 0.15:
            return parent, key
        parent, key = here, rng.choice(keys)


def _nudged(rng: random.Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, 2 * value, float(value), str(value), value + 2**32))
    if isinstance(value, float):
        return rng.choice((-value, value * 2, str(value), round(value, 1)))
    if isinstance(value, str):
        return rng.choice((value[:-1], value + rng.choice(TEXTS), value.upper(), value * 2, rng.choice(TEXTS) + value))
    return rng.choice((str(value), len(value) if value is not None else 0))


def damage_text_of_json(rng: random.Random, value: Any) -> bytes:
    """Returns damaged values as JSON, or the JSON of values with damage to its text."""
    if rng.random() < 0.7:
        return json.dumps(damage_json(rng, value)).encode(errors="surrogatepass")
    text = json.dumps(value).encode()
    if rng.random() < 0.05:
        deep = rng.choice((10, 900, 1100, 100_000))
        return rng.choice((b"[" * deep, b"[" * deep + b"]" * deep, text.replace(b"[", b"[" * deep, 1)))
    return damage(rng, text, [b"null", b"NaN", b"1e999", b"-1", b"{}", b"[]", b'"', b"1" * 5000, b"\\ud800", b"\xff"])
