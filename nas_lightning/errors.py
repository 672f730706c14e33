"""Failures that a user can mend: their text is the whole message, no traceback is shown."""


class NASError(Exception):
    """Something the user can mend. `nas` prints the text and exits with `exit_code`."""

    exit_code = 1
    everywhere = False
    """Whether all processes of a run fail with it together, so that one speaks for all."""


class UsageError(NASError):
    """The command or the configuration is wrong: nothing was run."""

    exit_code = 2
    everywhere = True


class DataError(NASError):
    """A data set is missing, empty, or holds something that cannot be read."""


class GenotypeError(NASError):
    """A genotype is malformed or belongs to another search space.

    Args:
        reason: What is wrong.
        path: Where, as a JSON path such as `$.cells.normal.nodes[0][1].source`.
        file: The file that holds it, if any.
    """

    def __init__(self, reason: str, path: str = "$", file: str = "the genotype") -> None:
        super().__init__(f"{file} is not valid: at {path}: {reason}")
        self.reason = reason
        self.path = path


class CheckpointError(NASError):
    """A checkpoint is truncated, of another search space, or not one of ours."""


class DivergedError(NASError):
    """A loss or a gradient is not finite.

    Args:
        text: Where and what.
        taken: Whether the step that it belongs to was taken before that was known.
    """

    everywhere = True

    def __init__(self, text: str, taken: bool = False) -> None:
        super().__init__(text)
        self.taken = taken


class RunFailedError(NASError):
    """A run was ended by what is around it, such as the memory or another process."""
