from typing import Any

import pytest
from lightning.pytorch.utilities import CombinedLoader

from nas_lightning.errors import UsageError
from tests.conftest import TrainerFactory
from tests.training.test_batches import Own, retraining, searching


class Sequential(Own):
    def train_dataloader(self) -> Any:
        halves = {"train": self.loader("train"), "val": self.loader("train")}
        return CombinedLoader(halves, "sequential")


class Several(Own):
    def val_dataloader(self) -> Any:
        return [self.loader("val"), self.loader("val")]

    def test_dataloader(self) -> Any:
        return {"a": self.loader("test"), "b": self.loader("test")}


def test_loaders_that_are_read_one_after_the_other_are_refused(
    make_trainer: TrainerFactory,
) -> None:
    with pytest.raises(UsageError, match=r"Sequential\.train_dataloader .*use min_size or max_"):
        make_trainer().fit(searching(), datamodule=Sequential())
    with pytest.raises(UsageError, match=r"Several\.val_dataloader returns 2 loaders: return one"):
        make_trainer().fit(searching(), datamodule=Several())
    with pytest.raises(UsageError, match=r"Several\.test_dataloader returns 2 loaders: return one"):
        make_trainer().test(retraining(), datamodule=Several(mode="retrain"), verbose=False)
