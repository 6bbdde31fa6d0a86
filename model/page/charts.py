"""How do figures become pictures? Small SVG charts, as text, that need nothing but a browser.

Every chart is drawn at most `WIDTH` units wide, so that its letters stay legible on a phone; wider screens set
several side by side.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH = 380
INK, MUTED, GRID = "#1f2933", "#616e7c", "#e4e7eb"
COLOURS = ("#2f6690", "#c8553d", "#588157", "#8a6fae", "#b8860b", "#3a7d7c", "#a23b72", "#5c677d")
"""Of series, in their order; told apart by those who see red and green alike, too, by their lightness."""

Point = tuple[float, float]


def colour(index: int) -> str:
    """Returns the colour of the series with that number."""
    return COLOURS[index % len(COLOURS)]


def legend(names: Sequence[str]) -> str:
    """Returns a line of names with their colours, as HTML."""
    items = (f'<span><i style="background:{colour(k)}"></i>{escape(name)}</span>' for k, name in enumerate(names))
    return f'<p class="legend">{"".join(items)}</p>'


def lines(
    series: Sequence[Sequence[Point]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    dots: bool = False,
    width: int = WIDTH,
    height: int = 260,
) -> str:
    """Returns a chart of lines through the points of each series; points that are not finite are left out."""
    series = [[p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])] for points in series]
    every = [point for points in series for point in points] or [(0.0, 0.0), (1.0, 1.0)]
    x_low, x_high = x_range or _range([x for x, _ in every])
    y_low, y_high = y_range or _range([y for _, y in every])
    frame = _Frame(width, height, (x_low, x_high), (y_low, y_high))
    parts = [frame.axes(x_label, y_label)]
    if diagonal:
        parts.append(_path([frame.at(0, 0), frame.at(1, 1)], MUTED, dash=True))
    for index, points in enumerate(series):
        parts.append(_path([frame.at(*point) for point in points], colour(index)))
        if dots or len(points) == 1:
            parts += [_dot(*frame.at(*point), colour(index)) for point in points]
    return svg(width, height, title, parts)


def bars(
    rows: Sequence[tuple[str, Sequence[float]]],
    *,
    title: str,
    whiskers: Sequence[Sequence[tuple[float, float] | None]] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    maximum: float | None = None,
    label_width: int = 150,
    form: Callable[[float], str] = lambda value: f"{value:.3f}",
) -> str:
    """Returns horizontal bars: for each row a label and one value per series, with whiskers where given.

    `marks` are upright dashed lines: value and name.
    """
    thickness = 11 if max((len(values) for _, values in rows), default=1) > 1 else 13
    ends = [end for row in whiskers or [] for pair in row if pair for end in pair]
    top = maximum or max([*(v for _, values in rows for v in values), *ends, *(v for v, _ in marks), 1e-9])
    room = WIDTH - label_width - 40

    def at(value: float) -> float:
        return label_width + room * min(max(value, 0.0) / top, 1.0)

    parts, y = [], 20.0 if marks else 6.0
    first = y
    for number, (label, values) in enumerate(rows):
        size = thickness * len(values)
        parts.append(_text(label_width - 6, y + size / 2 + 3, _short(label, label_width), "end", 11, title=label))
        for k, value in enumerate(values):
            parts.append(_rect(label_width, y, max(at(value) - label_width, 0.5), thickness - 2, colour(k)))
            pair = whiskers[number][k] if whiskers else None
            if pair:
                middle = y + thickness / 2 - 1
                parts.append(_path([(at(pair[0]), middle), (at(pair[1]), middle)], INK))
            end = max(at(value), at(pair[1]) if pair else 0.0)
            parts.append(_text(end + 4, y + thickness - 2, form(value), size=10, fill=MUTED))
            y += thickness
        y += 7
    for value, name in marks:
        parts.append(_path([(at(value), first - 4), (at(value), y - 6)], MUTED, dash=True))
        # On the side where there is room for it.
        x, anchor = (at(value) - 3, "end") if at(value) > WIDTH / 2 else (at(value) + 3, "start")
        parts.append(_text(x, 12, name, anchor, 10, fill=MUTED))
    return svg(WIDTH, y, title, parts)


def small_curve(points: Sequence[Point], *, title: str, fill: str, base: float | None = None) -> str:
    """Returns a small square chart, 0..1 both ways, of one curve; `base` is a dashed level."""
    side = 120
    parts = [f'<rect x="0.5" y="0.5" width="{side - 1}" height="{side - 1}" fill="#fff" stroke="{GRID}"/>']
    if base is not None:
        level = side * (1 - base)
        parts.append(_path([(0, level), (side, level)], MUTED, dash=True))
    parts.append(_path([(x * side, (1 - y) * side) for x, y in points], fill))
    return svg(side, side, title, parts)


def heatmap(
    values: Sequence[Sequence[float]], names: Sequence[str], *, title: str, row_title: str, column_title: str
) -> str:
    """Returns a square table of shades, rows and columns named alike; a cell's value is its tooltip."""
    cell, left, top = 17, 190, 40
    size = cell * len(names)
    highest = max((value for row in values for value in row), default=0) or 1
    parts = [_text(left, 12, f"{column_title} (by number) →", size=11, fill=MUTED)]
    parts.append(_text(left - 6, 12, f"{row_title} ↓", "end", size=11, fill=MUTED))
    for i, name in enumerate(names):
        parts.append(_text(left - 6, top + cell * i + 12.5, _short(f"{i} {name}", left), "end", size=11))
        parts.append(_text(left + cell * i + cell / 2, top - 5, str(i), "middle", size=9, fill=MUTED))
        for j, other in enumerate(names):
            value = values[i][j]
            tip = f"{name} missed, {other} said: {value:g}"
            box = _rect(left + cell * j, top + cell * i, cell - 1, cell - 1, _shade(value / highest), tip)
            parts.append(box)
            if value:
                ink = "#fff" if value > 0.3 * highest else INK
                parts.append(_text(left + cell * (j + 0.5) - 0.5, top + cell * i + 12, f"{value:g}", "middle", 8, ink))
    return svg(left + size + 4, top + size + 4, title, parts)


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """Returns an SVG element that scales to the width it is given, with its title for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{_n(width * 1.25)}px">{"".join(parts)}</svg>'
    )


class _Frame:
    """The area between axes, and where values lie in it."""

    def __init__(self, width: int, height: int, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.left, self.right, self.top, self.bottom = 50, width - 12, 10, height - 40
        self.x_range, self.y_range = x_range, y_range

    def at(self, x: float, y: float) -> Point:
        """Returns the place of a value, held inside the frame."""
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        across = min(max((x - x_low) / (x_high - x_low), 0.0), 1.0)
        up = min(max((y - y_low) / (y_high - y_low), 0.0), 1.0)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def axes(self, x_label: str, y_label: str) -> str:
        parts = []
        for value in ticks(*self.y_range):
            _, y = self.at(self.x_range[0], value)
            parts.append(_path([(self.left, y), (self.right, y)], GRID))
            parts.append(_text(self.left - 6, y + 4, _n(value), "end", 11, MUTED))
        for value in ticks(*self.x_range):
            x, _ = self.at(value, self.y_range[0])
            parts.append(_text(x, self.bottom + 15, _n(value), "middle", 11, MUTED))
        parts.append(_text((self.left + self.right) / 2, self.bottom + 33, x_label, "middle", 11))
        middle = (self.top + self.bottom) / 2
        parts.append(f'<g transform="rotate(-90 12 {_n(middle)})">{_text(12, middle + 4, y_label, "middle", 11)}</g>')
        return "".join(parts)


def ticks(low: float, high: float, num: int = 5) -> list[float]:
    """Returns about `num` round values from `low` to `high`."""
    rough = (high - low) / num
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _path(points: Sequence[Point], stroke: str, dash: bool = False) -> str:
    if len(points) < 2:
        return ""
    places = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    dashes = ' stroke-dasharray="4 3"' if dash else ""
    width = "1" if stroke in (GRID, MUTED) else "1.8"
    return f'<polyline points="{places}" fill="none" stroke="{stroke}" stroke-width="{width}"{dashes}/>'


def _dot(x: float, y: float, fill: str) -> str:
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="3" fill="{fill}"/>'


def _rect(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    tip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="1.5" fill="{fill}">{tip}</rect>'
    )


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: float = 12, fill: str = INK, title: str = ""
) -> str:
    tip = f"<title>{escape(title)}</title>" if title and title != text else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">'
        f"{tip}{escape(text)}</text>"
    )


def _short(text: str, width: float) -> str:
    """Returns the text cut to what fits in so many units, eleven units high."""
    room = max(4, int((width - 6) / 5.7))
    return text if len(text) <= room else text[: room - 1] + "…"


def _shade(share: float) -> str:
    """Returns white for 0 and the first colour for 1; small shares are lifted, so that they can be seen."""
    if share <= 0:
        return "#f5f7fa"
    level = 0.12 + 0.88 * math.sqrt(share)
    mixed = (round(255 + (end - 255) * level) for end in (0x2F, 0x66, 0x90))
    return "#" + "".join(f"{one:02x}" for one in mixed)


def _n(value: float) -> str:
    """Returns a short number: `12.5`, not `12.50000001`."""
    return f"{value:.6g}" if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")
