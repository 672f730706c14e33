"""What a failure means, in one line: the failures that are understood, one function each.

Nothing is imported here that takes long: a command that is wrong must say so at once.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_lightning.errors import NASError, RunFailedError
from nas_lightning.runs import memory


@dataclass(frozen=True)
class Run:
    """The run that a failure ended; nothing is known of it where none had begun.

    Attributes:
        verb: What was to be done.
        config: The configuration.
    """

    verb: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, cli: object) -> Run:
        """The run of a command line, whose configuration may not be read yet."""
        verb = getattr(cli, "verb", "")
        config = getattr(cli, "config", {}).get(verb)
        return cls(verb, config.as_dict()) if config else cls()

    @property
    def go_on(self) -> str:
        """How a run goes on, as the end of a message."""
        if self.verb != "fit":
            return ""
        if not any(Path(self.config["run_dir"], "checkpoints").glob("last.ckpt")):
            return "; there is no checkpoint yet: start it again"
        return "; the same command with --ckpt_path last goes on from its last checkpoint"


DISK = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or ask for a larger quota",
    errno.EROFS: "have it mounted for writing, or choose another directory by --run_dir",
    errno.EIO: "the disk has an error",
    errno.ESTALE: "the file server lost it",
}
"""What to do, by the system's error number."""

Explanation = Callable[[BaseException, Run], str | None]
"""An error → its message, or nothing if it is of another kind."""


# -- the failures ------------------------------------------------------------------------------


def own(error: BaseException, _: Run) -> str | None:
    """A failure of ours is its own message."""
    if not isinstance(error, NASError):
        return None
    text = str(error)
    if "Original Traceback" in text:  # raised in a loader's worker: the last line says it
        return text.strip().splitlines()[-1].partition(": ")[2]
    return text


def out_of_memory(error: BaseException, run: Run) -> str | None:
    """The memory of the GPU or of the machine ran out."""
    if not memory.is_out_of_memory(error):
        return None
    text = f"out of memory{memory.wanted(error)}: {memory.peak()}; {memory.lower(run.config)}"
    if run.go_on.endswith("last checkpoint"):
        return f"{text}{run.go_on}, also with another batch size; other sizes need a new run"
    return text + run.go_on


def lost_worker(error: BaseException, run: Run) -> str | None:
    """A process that loads data died."""
    found = re.search(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) (.*)", str(error))
    if found is None:
        return None
    fate = found[2].partition(".")[0]
    cause = "the machine ran out of memory: lower data.num_workers"
    if "Bus error" in fate:
        cause = "/dev/shm is full: make it larger, or lower data.num_workers"
    number = run.config.get("data", {}).get("init_args", {}).get("num_workers")
    present = "" if number is None else f" ({number})"
    return f"a loading process (pid {found[1]}) {fate}; usually {cause}{present}{run.go_on}"


def lost_process(error: BaseException, run: Run) -> str | None:
    """Another process of a run on several went away."""
    talk = re.search(r"gloo|NCCL|TCPStore|torch\.distributed|ProcessGroup", str(error))
    lost = re.search(
        r"(Connection|connection) (reset|closed|refused)|Broken pipe|[Tt]imed out|[Tt]imeout"
        r"|remote process exited|Connection was likely closed",
        str(error),
    )
    if talk is None or lost is None:
        return None
    known = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return (
        f"another process of this run is gone{known}: what it said last stands above or in its "
        f"own output; if it said nothing, usually its machine ran out of memory{run.go_on}"
    )


def disk(error: BaseException, run: Run) -> str | None:
    """A disk that takes nothing more."""
    if not isinstance(error, OSError) or error.errno not in DISK:
        return None
    where = os.fsdecode(error.filename or run.config.get("run_dir", "")) or "a file"
    return f"{where} cannot be written: {error.strerror}; {DISK[error.errno]}{run.go_on}"


def file(error: BaseException, _: Run) -> str | None:
    """A file that cannot be read or written."""
    if isinstance(error, OSError) and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return None


def monitor(error: BaseException, _: Run) -> str | None:
    """A checkpoint that watches what is not logged."""
    found = re.search(r"monitor='(.*?)'\)` could not find .*?\[(.*?)\]", str(error))
    if found is None:
        return None
    logged = ", ".join(re.findall(r"'(\w+/\w+)'", found[2]))
    return f"checkpoint.monitor: no metric {found[1]!r} is logged; there are {logged}"


def settings(error: BaseException, _: Run) -> str | None:
    """Settings of the trainer that do not go together."""
    return str(error) if type(error).__name__ == "MisconfigurationException" else None


ANYWHERE: tuple[Explanation, ...] = (own, lost_worker, lost_process, out_of_memory, disk)
"""Of what strikes at any moment, so that other errors may follow from it."""
EXPLANATIONS: tuple[Explanation, ...] = (*ANYWHERE, file, monitor, settings)
"""The first that knows an error explains it."""


# -- finding the one that counts ---------------------------------------------------------------


def explain(error: BaseException, run: Run | None = None) -> str | None:
    """The message for a failure that is understood, nothing for others."""
    known = run or Run()
    return next(filter(None, (explanation(error, known) for explanation in EXPLANATIONS)), None)


def root_cause(error: BaseException) -> BaseException:
    """The failure that counts, of an error and all that it was raised from.

    That is one of ours, else one that strikes anywhere, else the error itself, or that of which
    jsonargparse made a long text.
    """
    chain = list(links(error))
    for explanation in ANYWHERE:
        for link in chain:
            if explanation(link, Run()):
                return link
    wrapped = "Does not validate against any of the Union subtypes"
    return next((link for link in chain if not str(link).startswith(wrapped)), error)


def links(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def explained(cli: object) -> Iterator[None]:
    """Explain failures within by what is known of the run.

    Args:
        cli: A command line with `verb` and, when it is read, `config`.

    Raises:
        RunFailedError: One that is understood and not ours; others pass through.
    """
    try:
        yield
    except Exception as error:
        cause = root_cause(error)
        text = None if isinstance(cause, NASError) else explain(cause, Run.of(cli))
        if text is None:
            raise
        raise RunFailedError(text) from error
