"""What is expected to go wrong: errors whose message alone tells a person what to do."""


class InputError(ValueError):
    """The user's input cannot be built from; the message says where, what was expected and what to do."""


class JobError(RuntimeError):
    """The job did not do its work; nothing was published, and nothing finished was lost."""
