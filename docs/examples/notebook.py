"""A search, a retraining and a prediction in one Python session; the cells of a notebook."""

# %% search
from pathlib import Path

import nas_lightning

QUICK = {"trainer.max_epochs": 2, "trainer.accelerator": "cpu"}


def search(folder: Path, **more: int) -> nas_lightning.Run:
    """Search for cells on handwritten digits."""
    settings = {**QUICK, "run_dir": folder / "search", "data.batch_size": 256, **more}
    return nas_lightning.fit("digits_idarts", settings, quiet=True)


# %% retrain
def retrain(folder: Path, found: nas_lightning.Run) -> nas_lightning.Run:
    """Train the network of a genotype from scratch."""
    settings = {**QUICK, "run_dir": folder / "retrain", "model.genotype": found.genotype}
    return nas_lightning.fit("digits_retrain", settings, quiet=True)


# %% look at both, and use the network
def main(folder: Path = Path("runs/notebook")) -> None:
    """Search, retrain, test and load."""
    found = search(folder)
    print(found.genotype)
    print("supernet    ", round(found.metrics["search/val_accuracy"], 3))

    trained = retrain(folder, found)
    for row in trained.read_metrics():
        if "retrain/val_accuracy" in row:
            print("epoch", int(row["epoch"]), round(row["retrain/val_accuracy"], 3))
    print("best        ", round(trained.best_metrics["retrain/val_accuracy"], 3))
    print("test        ", round(trained.test()["retrain/test_accuracy"], 3))

    network = nas_lightning.load(trained)
    print(network.classes, network.preprocessing)


if __name__ == "__main__":
    main()
