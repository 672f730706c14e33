"""One-line messages for failures: one function for each kind that is known.

Nothing slow is imported here: a wrong command must fail at once.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_lightning.errors import NASError, RunFailedError, UsageError
from nas_lightning.runs import memory
from nas_lightning.runs.messages import nearest


@dataclass(frozen=True)
class Run:
    """The run that a failure ended; empty if none had begun.

    Attributes:
        verb: The verb.
        config: The configuration.
    """

    verb: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, cli: object) -> Run:
        """Return the run of a command line, whose configuration may not be read yet."""
        verb = getattr(cli, "verb", "")
        config = getattr(cli, "config", {}).get(verb)
        return cls(verb, config.as_dict()) if config else cls()

    @property
    def advice(self) -> str:
        """Advice to resume the run, as the end of a message."""
        if self.verb != "fit":
            return ""
        if not any(Path(self.config["run_dir"], "checkpoints").glob("last.ckpt")):
            return "; there is no checkpoint yet: start it again"
        return "; the same command with --ckpt_path last resumes from its last checkpoint"


DISK = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or ask for a larger quota",
    errno.EROFS: "have it mounted for writing, or choose another directory by --run_dir",
    errno.EIO: "the disk has an error",
    errno.ESTALE: "the file server lost it",
}
"""Advice by the system's error number."""

Explanation = Callable[[BaseException, Run], str | None]
"""An error → its message, or `None` if it is of another kind."""

LOWER = "lower data.num_workers"


# -- the failures ------------------------------------------------------------------------------


def own(error: BaseException, _: Run) -> str | None:
    """Return the text of an error of nas-lightning."""
    if not isinstance(error, NASError):
        return None
    text = str(error)
    if "Original Traceback" in text:  # raised in a loading process: the last line is the error
        return text.strip().splitlines()[-1].partition(": ")[2]
    return text


def out_of_memory(error: BaseException, run: Run) -> str | None:
    """Explain that the memory of the GPU or of the machine ran out."""
    if not memory.is_out_of_memory(error):
        return None
    text = f"out of memory{memory.wanted(error)}: {memory.peak()}; {memory.lower(run.config)}"
    if run.advice.endswith("last checkpoint"):
        return f"{text}{run.advice}, also with another batch size; other sizes need a new run"
    return text + run.advice


def lost_worker(error: BaseException, run: Run) -> str | None:
    """Explain that a process that loads data died.

    PyTorch reports a killed process by its signal, or, if it notices the loss itself first, as one
    that "exited unexpectedly". If the process dies while it hands over a batch, Python reports a
    broken connection. All get the same message.
    """
    found = re.search(r"DataLoader worker( \(pid\(?s?\)? [\d, ]+\)) (.*)", str(error))
    if found is None and not _hands_over(error):
        return None
    pid, fate = (found[1], found[2]) if found else ("", "")
    number = run.config.get("data", {}).get("init_args", {}).get("num_workers")
    present = "" if number is None else f" ({number})"
    signal = re.search(r"killed by signal: ([^.]+)", fate)
    code = re.search(r"exit code (-?\d+)", fate)
    if signal and signal[1] == "Bus error":
        text = f"was killed (Bus error); usually /dev/shm is full: make it larger, or {LOWER}"
    elif signal and signal[1] != "Killed":
        text = f"was killed ({signal[1]}); set data.num_workers to 0 to see where"
        present = ""
    elif code and int(code[1]) > 0:
        text = f"exited with code {code[1]}; set data.num_workers to 0 to see why"
        present = ""
    else:
        text = f"was killed; usually the machine ran out of memory: {LOWER}"
    return f"a loading process{pid.replace('pid(s)', 'pid')} {text}{present}{run.advice}"


def _hands_over(error: BaseException) -> bool:
    """Return True if a connection broke while a loading process handed over a tensor."""
    if not isinstance(error, OSError | EOFError):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(Path(frame.f_code.co_filename).name == "resource_sharer.py" for frame, _ in frames)


def lost_process(error: BaseException, run: Run) -> str | None:
    """Explain that another process of a distributed run is gone."""
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
        f"another process of this run is gone{known}: read its last message above or in its own "
        f"output; without a message, usually its machine ran out of memory{run.advice}"
    )


def disk(error: BaseException, run: Run) -> str | None:
    """Explain that a disk cannot be written."""
    if not isinstance(error, OSError) or error.errno not in DISK:
        return None
    where = os.fsdecode(error.filename or run.config.get("run_dir", "")) or "a file"
    return f"{where} cannot be written: {error.strerror}; {DISK[error.errno]}{run.advice}"


def file(error: BaseException, _: Run) -> str | None:
    """Explain that a file cannot be read or written."""
    if isinstance(error, OSError) and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return None


def monitor(error: BaseException, _: Run) -> str | None:
    """Explain that a monitored metric is not logged."""
    text = str(error)
    if found := re.search(r"monitor='(.*?)'\)` could not find .*?\[(.*?)\]", text):
        where, logged = "checkpoint.monitor", re.findall(r"'(\S+?)'", found[2])
    elif found := re.search(r"conditioned on metric `(.*?)` which is not available", text):
        where, logged = "trainer.callbacks: EarlyStopping.monitor", re.findall(r"`(\S+?)`", text)
    else:
        return None
    metrics = [name for name in logged if "/" in name and not name.startswith(("alpha/", "beta/"))]
    hint = nearest(found[1], metrics) or f"there are {', '.join(sorted(metrics))}"
    return f"{where}: no metric {found[1]!r} is logged; {hint}"


def batches(error: BaseException, _: Run) -> str | None:
    """Explain that a setting of the trainer does not fit the number of batches."""
    text = str(error)
    if found := re.search(r"`val_check_interval` \((.*?)\) must be .* batches \((\d+)\)", text):
        return (
            f"trainer.val_check_interval {found[1]} is more than the {found[2]} batches of an "
            f"epoch: lower it, or give a share of an epoch, such as 1.0"
        )
    found = re.search(r"but ([\d.e-]+) \* (\d+) < 1\. .*?`(\w+)` argument\. .*=([\d.]+)`", text)
    if found is None:
        return None
    share, number, name, least = found.groups()
    return f"trainer.{name} {share} of {number} batches is none: raise it to at least {least}"


def single_value(error: BaseException, run: Run) -> str | None:
    """Explain that batch norm cannot normalise a single value."""
    if not str(error).startswith("Expected more than 1 value per channel when training"):
        return None
    return (
        f"batch norm cannot normalise a batch of one image whose features are one pixel: raise the "
        f"batch size of the data, or use larger images{run.advice}"
    )


def missing(error: BaseException, _: Run) -> str | None:
    """Explain that a setting of the trainer needs a package that is not installed."""
    found = re.search(r"Requirement '([\w-]+)[^']*' not met", str(error))
    return found and f"a setting of trainer needs the package {found[1]}, which is not installed"


def settings(error: BaseException, _: Run) -> str | None:
    """Return the reason for which Lightning refuses settings of the trainer."""
    text = " ".join(str(error).split()).rstrip(":")
    return text if type(error).__name__ == "MisconfigurationException" else None


ANYWHERE: tuple[Explanation, ...] = (own, lost_worker, lost_process, out_of_memory, disk)
"""Failures that can happen at any moment and cause other errors."""
EXPLANATIONS: tuple[Explanation, ...] = (
    *ANYWHERE, file, monitor, batches, single_value, missing, settings,
)  # fmt: skip
"""All kinds; the first that matches explains an error."""
WRONG = (batches, missing, settings)
"""Kinds that say that the configuration is wrong."""


# -- the search for the root cause ---------------------------------------------------------------


def explain(error: BaseException, run: Run | None = None) -> str | None:
    """Return the message for a failure of a known kind, and `None` for others."""
    known = run or Run()
    return next(filter(None, (explanation(error, known) for explanation in EXPLANATIONS)), None)


def root_cause(error: BaseException) -> BaseException:
    """Return the cause of an error among all the errors that it was raised from.

    This is the first of a kind in `ANYWHERE`, in the order of that tuple. If there is none, it is
    the error itself, or the one that jsonargparse wrapped into a long text.
    """
    chain = list(links(error))
    for explanation in ANYWHERE:
        for link in chain:
            if explanation(link, Run()):
                return link
    wrapped = "Does not validate against any of the Union subtypes"
    return next((link for link in chain if not str(link).startswith(wrapped)), error)


def links(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, the error that it was raised from, and so on, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def explained(cli: object) -> Iterator[None]:
    """Explain failures inside the context, with the configuration of the run.

    Args:
        cli: A command line with `verb` and, once it is read, `config`.

    Raises:
        UsageError: The configuration is wrong.
        RunFailedError: A failure of a known kind that is not an error of nas-lightning; others
            pass through.
    """
    try:
        yield
    except Exception as error:
        cause = root_cause(error)
        text = None if isinstance(cause, NASError) else explain(cause, Run.of(cli))
        if text is None:
            raise
        wrong = any(explanation(cause, Run()) for explanation in WRONG)
        raise (UsageError if wrong else RunFailedError)(text) from error
