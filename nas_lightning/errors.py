"""Errors that a user can fix. Their text is the whole message; no traceback is shown."""


class NASError(Exception):
    """An error that the user can fix. `nas` prints its text and exits with `exit_code`."""

    exit_code = 1
    everywhere = False
    """True if all processes of a run raise it together, so that only one needs to report it."""


class UsageError(NASError):
    """The command or the configuration is wrong, and nothing was run."""

    exit_code = 2
    everywhere = True


class DataError(NASError):
    """A data set is missing or empty, or contains something that cannot be read."""


class ContentError(NASError):
    """A file can be read, but its content is not what it should be.

    Args:
        reason: What is wrong.
        path: JSON path of the place, such as `$.cells.normal.nodes[0][1].source`.
        file: Name of the file that contains it, if any.
    """

    def __init__(self, reason: str, path: str = "$", file: str = "the data") -> None:
        super().__init__(f"{file} is not valid: at {path}: {reason}")
        self.reason = reason
        self.path = path


class GenotypeError(ContentError):
    """A genotype is malformed or belongs to another search space. See `ContentError`."""

    def __init__(self, reason: str, path: str = "$", file: str = "the genotype") -> None:
        super().__init__(reason, path, file)


class CheckpointError(NASError):
    """A checkpoint is truncated, belongs to another search space or to another program."""


class NoCheckpointError(CheckpointError):
    """There is no such checkpoint."""


class CheckpointMismatchError(CheckpointError):
    """A whole checkpoint does not fit the run that loads it; nothing was changed."""

    everywhere = True


class CheckpointUnreadableError(NASError):
    """The system could not read a checkpoint, whose content may be whole."""


class DivergedError(NASError):
    """A loss or a gradient is not finite.

    Args:
        text: The place in the run and the values found.
        taken: True if the optimizer had already taken the step when the check failed.
        data: Values of the batch that are not finite either; empty if there are none.
    """

    everywhere = True

    def __init__(self, text: str, taken: bool = False, data: str = "") -> None:
        super().__init__(text)
        self.taken = taken
        self.data = data


class RunFailedError(NASError):
    """A run was ended from outside, such as by a lack of memory or by another process."""
