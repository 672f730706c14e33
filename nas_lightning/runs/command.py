"""`nas fit | validate | test | predict`: LightningCLI with run directories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

# imported so that configurations can name their classes without the module path
import nas_lightning.data
import nas_lightning.retrain
import nas_lightning.strategies  # noqa: F401 (for its classes, see above)
from nas_lightning import __version__, signals
from nas_lightning.callbacks import DataReport, PredictionWriter
from nas_lightning.data.workers import shielded_workers
from nas_lightning.errors import UsageError
from nas_lightning.runs.checks import data_spec, refuse_callbacks
from nas_lightning.runs.directory import (
    Claim,
    Start,
    claim,
    default_checkpoint,
    find_checkpoint,
    find_start,
)
from nas_lightning.runs.distribution import prepare_distribution, stop_others
from nas_lightning.runs.ending import print_ending, print_tables
from nas_lightning.runs.failures import explained
from nas_lightning.runs.fit_callbacks import fit_callbacks
from nas_lightning.runs.header import header
from nas_lightning.runs.held_logger import hold
from nas_lightning.runs.kept_genotype import kept_genotype
from nas_lightning.runs.loggers import make_loggers
from nas_lightning.runs.monitors import check_monitors
from nas_lightning.runs.options import add_options
from nas_lightning.runs.own_callbacks import leave_nothing, own_callbacks
from nas_lightning.runs.parser import NASArgumentParser, PackagedConfig
from nas_lightning.runs.paths import expand_paths
from nas_lightning.runs.quiet import quiet
from nas_lightning.runs.save_config import SaveConfig
from nas_lightning.runs.shared_settings import write_stages
from nas_lightning.runs.trainer_settings import check_length, check_settings
from nas_lightning.runs.uncopied import Uncopied
from nas_lightning.signals import Stopped
from nas_lightning.slurm.environment import check_environment, trainer_arguments
from nas_lightning.slurm.job import active_job
from nas_lightning.training.checkpoints import WholeCheckpoints
from nas_lightning.yaml_text import parse_mapping


class NASCLI(Uncopied, LightningCLI):
    """LightningCLI with a run directory, and with loggers and callbacks for every run.

    Args:
        arguments: The command line, starting with the verb.
        says_next: Print the result of a fit and the command that comes next at its end.

    Attributes:
        verb: The verb.
        claim: The claim on the run directory while a fit runs.
        start: The start of a fit, or the checkpoint that another verb evaluates.
        ended: True if the checkpoint has all epochs of the run.
    """

    def __init__(self, arguments: list[str], says_next: bool = True) -> None:
        self.verb = arguments[0]
        self.says_next = says_next
        self.claim: Claim | None = None
        self.start = Start(None, takes_over=False)
        self.ended = False
        try:
            with explained(self), shielded_workers(), signals.attended():
                self._run(arguments)
        except Stopped:
            stop_others(getattr(self, "trainer", None))
            raise
        finally:
            if self.claim is not None:
                self.claim.release()

    def _run(self, arguments: list[str]) -> None:
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,  # ours needs to know the start
            parser_class=NASArgumentParser,
            parser_kwargs={"prog": "nas"},
            seed_everything_default=0,
            # our loaders shard by themselves; Lightning's sampler would change their order
            trainer_defaults={
                "use_distributed_sampler": False,
                "enable_model_summary": False,  # it would list thousands of modules
            },
            auto_configure_optimizers=False,
            args=arguments,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override] # static in Lightning
        """Return only the verb that runs: building a parser for each would take seconds."""
        return {self.verb: LightningCLI.subcommands()[self.verb]}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Return the parser, whose `--config` also finds shipped configurations."""
        kwargs.setdefault(
            "dump_header", [f"nas-lightning {__version__}, lightning {lightning.__version__}"]
        )
        kwargs.setdefault("allow_abbrev", False)  # a misspelt option must not match another
        parser = self.parser_class(**kwargs)
        parser.add_argument(
            "-c",
            "--config",
            action=PackagedConfig,
            help="A configuration file, or the name of a shipped one. Later ones win.",
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of every run, and link those that share a value."""
        add_options(parser, self.verb, self._sizes)

    def _sizes(self, data: LightningDataModule) -> dict[str, Any]:
        return data_spec(data, self.start.content)

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Read the configuration and complete it."""
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        expand_paths(config)
        self.complete(config)

    def complete(self, config: Namespace) -> None:
        """Complete and check the configuration of the run before anything is built.

        Here: write the settings under `stages` to their places.
        """
        write_stages(config)
        check_settings(config, self.verb)

    def _parse_ckpt_path(self) -> None:
        """Find the checkpoint and claim the run directory before anything is built.

        Lightning would let the checkpoint's hyper-parameters override the configuration here. We
        keep the configuration and refuse a checkpoint that does not fit it.
        """
        config = self.config[self.config.subcommand]
        run_dir = Path(config.run_dir)
        check_environment(config.trainer, run_dir)
        name, config.ckpt_path = config.ckpt_path, None  # of this start, not of the run
        if self.config.subcommand != "fit":
            found = find_checkpoint(run_dir, name or default_checkpoint(run_dir))
            self.start = Start(found[0], takes_over=False, content=found[1])
            return
        self.start = find_start(run_dir, name, active_job())
        if self.start.content is not None and not config.trainer.fast_dev_run:
            self.ended = not check_length(self.start.content, config.trainer.max_epochs)
        # one process holds the directory for all of them
        if not config.trainer.fast_dev_run and getattr(rank_zero_only, "rank", 0) == 0:
            self.claim = claim(run_dir, self.start)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        path = self.start.checkpoint
        arguments = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":  # the writer has them; all outputs may not fit into memory
            arguments["return_predictions"] = bool(arguments.get("return_predictions"))
        return {**arguments, "ckpt_path": None if path is None else str(path)}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return the trainer, with the loggers and callbacks of every run."""
        config = self._get(self.config, "trainer")
        run_dir = Path(self._get(self.config, "run_dir"))
        if config.logger is not False and not config.fast_dev_run and not config.barebones:
            kwargs["logger"] = make_loggers(
                self._get(self.config_init, "trainer").logger,
                run_dir,
                str(self.subcommand),
                self.start.content if self.subcommand == "fit" else None,
            )
        kwargs |= trainer_arguments(self._get(self.config_init, "trainer"))
        if self.subcommand == "fit":
            kwargs["enable_autolog_hparams"] = False  # SaveConfig logs them, once the run is taken
        trainer = super().instantiate_trainer(**kwargs)
        refuse_callbacks(trainer, self.model)
        self._hand_over_checkpoint(trainer)
        prepare_distribution(trainer, self.model)
        leave_nothing(trainer)
        trainer.callbacks[:0] = self._extra_callbacks(trainer, run_dir)  # type: ignore[attr-defined] # set by a connector
        return trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Return the trainer, with our progress bar and checkpoints unless they are switched off.

        Args:
            config: Settings of the trainer.
            callbacks: Callbacks with settings of their own: the `RunCheckpoint`.
        """
        ours = own_callbacks(config)
        return super()._instantiate_trainer(
            config, [*(callbacks if ours.saves else ()), *ours.more]
        )

    def _hand_over_checkpoint(self, trainer: Trainer) -> None:
        """Let the trainer take the content that was read already, and keep no reference to it."""
        path, content = self.start.checkpoint, self.start.content
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not set by the user
            read = {} if path is None or content is None else {path: content}
            trainer.strategy.checkpoint_io = WholeCheckpoints(read)
        self.start = replace(self.start, content=None)

    def instantiate_classes(self) -> None:
        """Build data, model and trainer."""
        with kept_genotype(self.config[self.verb], self.start.content):
            super().instantiate_classes()

    def before_instantiate_classes(self) -> None:
        """Set the number of threads."""
        if threads := self._get(self.config, "threads"):
            torch.set_num_threads(threads)

    def before_fit(self) -> None:
        """Check the metrics that are monitored, and print the header of the run.

        Raises:
            UsageError: A metric is not logged, or its direction is another one.
        """
        check_monitors(self.trainer, self.model, self.datamodule)
        if self.trainer.is_global_zero:
            print(f"{'run directory':<24} {self._get(self.config, 'run_dir')}")
            if not self.trainer.checkpoint_callbacks:
                print(
                    f"{'checkpoints':<24} none: the run cannot be resumed, tested or derived from"
                )
            print(header(self.model, self.datamodule, self.trainer.max_epochs), flush=True)

    def after_fit(self) -> None:
        """Say if nothing was trained; print the result, its cost, and the next command.

        Raises:
            UsageError: There was no batch to train on.
        """
        if self.ended:
            if self.trainer.is_global_zero:
                epochs = self.trainer.max_epochs
                print(
                    f"nothing to do: {epochs} of {epochs} epochs are done; to train on, set "
                    f"--trainer.max_epochs to more than {epochs}"
                )
        elif self.trainer.fit_loop.epoch_loop.total_batch_idx < 0:
            raise UsageError(
                "no batch was trained on: the data are fewer than one batch, or "
                "trainer.limit_train_batches leaves none"
            )
        if self.says_next and self.trainer.is_global_zero:
            print_ending(self.trainer, self.model, self.plain_config())

    def after_test(self) -> None:
        """Print where the metrics lie."""
        print_tables(self.trainer)

    after_validate = after_test

    def _extra_callbacks(self, trainer: Trainer, run_dir: Path) -> list[Callback]:
        """Return the callbacks of every run, in the order in which they are called."""
        found: list[Callback] = [PredictionWriter(run_dir), DataReport()]
        if trainer.fast_dev_run:  # type: ignore[attr-defined] # set by a connector
            return [DataReport()]
        if self.subcommand == "fit":
            config = self.config[str(self.subcommand)]
            saving = SaveConfig(self._parser(self.subcommand), config, run_dir, self.start)
            found = [*fit_callbacks(trainer, self.model, self.plain_config(), saving), *found]
            hold(trainer)
        return found

    def plain_config(self) -> dict[str, Any]:
        """Return the configuration of the run as plain data."""
        text = self._parser(self.subcommand).dump(self.config[self.verb], skip_none=False)
        return parse_mapping(text, "the configuration")


def run(arguments: list[str], says_next: bool = True) -> NASCLI:
    """Run `nas VERB …` for one of Lightning's verbs, and return the finished command."""
    quiet()
    return NASCLI(arguments, says_next)
