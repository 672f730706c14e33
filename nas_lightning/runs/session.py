"""Runs from Python: `nas_lightning.fit` and its result, a `Run`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer

from nas_lightning.architecture import Genotype
from nas_lightning.errors import NASError, UsageError
from nas_lightning.files import is_there
from nas_lightning.runs.command import NASCLI
from nas_lightning.runs.directory import CHECKPOINTS, CONFIG
from nas_lightning.runs.failures import root_cause
from nas_lightning.runs.metrics import Row, read_metrics
from nas_lightning.runs.quiet import quiet as hush
from nas_lightning.runs.rebuilt import checkpoint_of
from nas_lightning.runs.record_file import NAME, read_record
from nas_lightning.runs.summary import run_summary
from nas_lightning.search.genotype_writer import FILE
from nas_lightning.text import shown
from nas_lightning.training.checkpoints import read_checkpoint

Config = str | os.PathLike[str] | Mapping[str, Any]
"""A configuration: a file, the name of a shipped one, or its content."""
Overrides = Mapping[str, Any] | Sequence[str]
"""Settings by dotted key, or words of a command line."""

PRINTING = ("-h", "--help", "--print_plan", "--print_config")
"""Words of a command line that print something and run nothing."""


class Run:
    """A run that has been started, in its run directory.

    It can be passed wherever a path is expected, as in `nas_lightning.load(run)`.

    Args:
        directory: The run directory.

    Raises:
        UsageError: It holds no run.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        if not is_there(self.directory / NAME):
            raise UsageError(f"{self.directory} holds no run: there is no {NAME}")

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric that is logged by epoch."""
        found: dict[str, float] = run_summary(self.directory)["metrics"]
        return found

    @property
    def best_metrics(self) -> dict[str, float]:
        """The metrics of the epoch of `best.ckpt`; those of the last epoch without one."""
        best = self.directory / CHECKPOINTS / "best.ckpt"
        if not is_there(best):
            return self.metrics
        epoch = read_checkpoint(best)["epoch"]
        names = self.metrics.keys()
        found: dict[str, float] = {}
        for row in self.read_metrics():
            if row.get("epoch") == epoch:
                found |= {name: value for name, value in row.items() if name in names}
        return found

    @property
    def genotype(self) -> Genotype | None:
        """The genotype that a search found, or that a retraining trains; `None` without one."""
        if is_there(file := self.directory / FILE):
            return Genotype.load(file)
        last = self.directory / CHECKPOINTS / "last.ckpt"
        if not is_there(last):
            return None
        kept = read_checkpoint(last).get("hyper_parameters", {}).get("genotype")
        return None if kept is None else Genotype.from_dict(dict(kept))

    @property
    def record(self) -> dict[str, Any]:
        """The content of `run.json`: settings, machine, time and outcome of each start."""
        return read_record(self.directory)

    def read_metrics(self) -> list[Row]:
        """Return all logged rows in order, as if the run had never been interrupted."""
        return read_metrics(self.directory)

    def test(self, *, quiet: bool = True) -> dict[str, float]:
        """Return the metrics on the test data, with the best checkpoint, else the last.

        Args:
            quiet: Print nothing.

        Raises:
            UsageError: The run has no checkpoint.
        """
        checkpoint_of(self.directory)
        cli = _run(["test", "--config", str(self.directory / CONFIG)], (), quiet=quiet)
        return {name: float(value) for name, value in cli.trainer.callback_metrics.items()}

    def __fspath__(self) -> str:
        """Return the run directory."""
        return str(self.directory)

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Run({str(self.directory)!r})"


def fit(
    config: Config | Sequence[Config],
    overrides: Overrides = (),
    *,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Run:
    """Search or retrain in this process, as `nas fit` does.

    Args:
        config: A configuration, or several, of which later ones win: files, names of shipped ones,
            or their contents.
        overrides: Settings by dotted key, such as `{"trainer.max_epochs": 5}`, or words as on the
            command line, such as `["--trainer.max_epochs=5"]`.
        callbacks: Callbacks of Lightning, in addition to those of the configuration. They are not
            recorded, so a resumed run needs them again.
        quiet: Print no progress and no result. Warnings are still printed.

    Raises:
        UsageError: The configuration is wrong, or the run directory holds another run.
        RunInterruptedError: Ctrl-C stopped the run, which can be resumed.
        NASError: The run failed.
    """
    if isinstance(config, str | os.PathLike | Mapping):
        config = [config]
    words = ["fit", *(word for one in config for word in ("--config", _config_text(one)))]
    cli = _run([*words, *_words(overrides)], callbacks, quiet=quiet)
    return Run(cli.config.fit.run_dir)


class SessionCLI(NASCLI):
    """A command of a Python session.

    Args:
        arguments: The command line, starting with the verb.
        callbacks: Callbacks in addition to those of the configuration.
        says_next: Print the result of a fit and the command that comes next at its end.
    """

    def __init__(
        self, arguments: list[str], callbacks: Sequence[Callback], says_next: bool
    ) -> None:
        self._callbacks = list(callbacks)
        super().__init__(arguments, says_next)

    def complete(self, config: Namespace) -> None:
        """Also refuse a run that keeps nothing.

        Raises:
            UsageError: `fast_dev_run` is set.
        """
        if config.trainer.fast_dev_run:
            raise UsageError(
                "trainer.fast_dev_run keeps nothing, so there would be no run to return: set "
                "trainer.limit_train_batches instead"
            )
        super().complete(config)

    def _extra_callbacks(self, trainer: Trainer, run_dir: Path) -> list[Callback]:
        return [*super()._extra_callbacks(trainer, run_dir), *self._callbacks]


def _run(arguments: list[str], callbacks: Sequence[Callback], *, quiet: bool) -> SessionCLI:
    """Run a command and leave the process as it was, except for its random generators.

    Raises:
        UsageError: The command line asks for something that ends a program, such as help.
    """
    for word in arguments:
        if word.partition("=")[0] in PRINTING:
            raise UsageError(f"{word} prints and ends a program: leave it out")
    printed = contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext()
    with _unchanged(), printed:
        hush()
        try:
            return SessionCLI(arguments, callbacks, says_next=not quiet)
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):  # Ctrl-C as Lightning passes it on
                raise KeyboardInterrupt from None
            raise UsageError(f"the words {shown(arguments[1:])} end a program") from stop
        except Exception as error:
            cause = root_cause(error)  # jsonargparse wraps errors into long texts
            if isinstance(cause, NASError) and cause is not error:
                raise cause from None
            raise


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Restore the number of threads and the handling of warnings after the context."""
    threads, form = torch.get_num_threads(), warnings.formatwarning
    with warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            warnings.formatwarning = form


def _config_text(config: Config) -> str:
    """Return a configuration as a word of a command line."""
    if isinstance(config, Mapping):
        return f"{json.dumps(_plain(config, 'config'))}\n"  # with a line break, it is no path
    return os.fspath(config)


def _words(overrides: Overrides) -> list[str]:
    """Return overrides as words of a command line.

    Raises:
        UsageError: They are neither a mapping nor a list of texts.
    """
    if isinstance(overrides, Mapping):
        return [f"--{key}={_value(value, str(key))}" for key, value in overrides.items()]
    listed = isinstance(overrides, Sequence) and not isinstance(overrides, str)
    if not listed or not all(isinstance(word, str) for word in overrides):
        raise UsageError(
            f"overrides must be a mapping such as {{'trainer.max_epochs': 5}} or a list of words "
            f"such as ['--trainer.max_epochs=5'], found {shown(overrides)}"
        )
    return list(overrides)


def _value(value: Any, key: str) -> str:
    """Return the value of a setting as text."""
    found = _plain(value, key)
    return found if isinstance(found, str) else json.dumps(found)


def _plain(value: Any, key: str) -> Any:
    """Return a setting as JSON can hold it.

    Raises:
        UsageError: It is an object.
    """
    if isinstance(value, Genotype):
        return value.to_dict()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, key) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UsageError(
        f"{key}: expected a number, a text, a list or a mapping, found {shown(value)}: name a "
        f"class by {{'class_path': …, 'init_args': …}}"
    )
