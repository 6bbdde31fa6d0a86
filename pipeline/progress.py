"""A progress bar on standard error."""

import sys
from types import TracebackType
from typing import Any


def say(line: str) -> None:
    """Prints a line on standard error, above the bars that are shown there."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


class Bar:
    """A bar with rate and time left, drawn from the first update on.

    The rate counts from the first update, so that examples finished by an earlier run do not inflate it.
    Where standard error is not a terminal, a line appears every ten seconds instead.
    """

    def __init__(self, description: str, *, unit: str = "ex", leave: bool = True, bar_format: str | None = None):
        self._settings = {"desc": description, "unit": unit, "leave": leave, "bar_format": bar_format}
        self._tqdm: Any = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Shows `done` of `total`, and a short note after the rate."""
        if self._tqdm is None:
            from tqdm import tqdm  # not needed for `--help`

            from pipeline.console import colour

            interval = 0.1 if sys.stderr.isatty() else 10
            self._tqdm = tqdm(
                total=total,
                initial=done,
                file=sys.stderr,
                mininterval=interval,
                colour=colour.PROGRESS if colour.shows(sys.stderr) else None,
                **self._settings,
            )
        if note:
            self._tqdm.set_postfix_str(note, refresh=False)
        self._tqdm.update(done - self._tqdm.n)

    def show_as(self, bar_format: str) -> None:
        """Changes the format of the bar from the next update on."""
        self._settings["bar_format"] = bar_format
        if self._tqdm is not None:
            self._tqdm.bar_format = bar_format

    def close(self) -> None:
        """Ends the bar and leaves the terminal in order."""
        if self._tqdm is None:
            return
        try:
            self._tqdm.close()
        except KeyboardInterrupt:
            sys.stderr.write("\n")  # the error must not follow the bar on its line
            raise

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
