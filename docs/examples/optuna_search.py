"""Sweep two hyper-parameters of a search on handwritten digits by Optuna, with pruning.

    pip install nas-lightning[hpo]
    python docs/examples/optuna_search.py

The score is the accuracy of the supernet, which is cheap. It says little about that of the
retrained network: compare the settings that it finds by a study (docs/studies.md).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from lightning import Callback, LightningModule, Trainer

import nas_lightning

MONITOR = "search/val_accuracy"


class Prune(Callback):
    """Report the validation metric of each epoch, and end a trial that is worse than others.

    Args:
        trial: The trial.
        monitor: Name under which the metric is logged.
    """

    def __init__(self, trial: optuna.Trial, monitor: str = MONITOR) -> None:
        self.trial = trial
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and ask the pruner.

        Raises:
            TrialPruned: The pruner says so.
        """
        if trainer.sanity_checking:
            return
        value = float(trainer.callback_metrics[self.monitor])
        self.trial.report(value, trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"epoch {trainer.current_epoch + 1}: {value:.3f}")


def sweep(folder: Path, trials: int, more: Mapping[str, Any] | None = None) -> optuna.Study:
    """Run the trials, each in a run directory of its own.

    Args:
        folder: Folder of the run directories.
        trials: Number of trials.
        more: Further settings of every search.
    """

    def objective(trial: optuna.Trial) -> float:
        settings = {
            "run_dir": folder / f"trial_{trial.number}",
            "model.weight_optimizer.lr": trial.suggest_float("weight_lr", 0.005, 0.5, log=True),
            "model.arch_optimizer.lr": trial.suggest_float("arch_lr", 1e-3, 1e-1, log=True),
            "pictures": False,
            **(more or {}),
        }
        run = nas_lightning.fit("digits_idarts", settings, callbacks=[Prune(trial)], quiet=True)
        return run.metrics[MONITOR]

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
    )
    study.optimize(objective, n_trials=trials)
    return study


def main() -> None:
    """Run twelve trials, and print the best settings and the command that uses its genotype."""
    study = sweep(Path("runs/optuna"), trials=12)
    best = study.best_trial
    print(f"trial {best.number}: {MONITOR} {best.value:.3f} with {best.params}")
    genotype = Path("runs/optuna") / f"trial_{best.number}" / "genotype.json"
    print(f"nas fit --config digits_retrain --model.genotype {genotype}")


if __name__ == "__main__":
    main()
