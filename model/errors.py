"""What may go wrong without anything being wrong with the program? Commands show these as one line."""


class InputError(ValueError):
    """What was asked for, or what was found, does not fit."""


class MissingError(InputError, FileNotFoundError):
    """Something that was named is not there."""


class DivergedError(Exception):
    """The loss or a weight is no longer a finite number."""


class StoppedError(Exception):
    """A signal asked the run to stop; it has saved where it was."""


EXPECTED = (InputError, DivergedError, StoppedError)
