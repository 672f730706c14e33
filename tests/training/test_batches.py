"""Own data: the first batch of each loader is compared with `data_spec`, before anything trains."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from nas_lightning.architecture import Genotype
from nas_lightning.errors import DataError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import PUBLISHED, DartsNetwork
from nas_lightning.tasks import Classification, LanguageModeling, Reconstruction
from nas_lightning.training.stage import Stage
from tests.conftest import TrainerFactory, tiny_supernet

SPEC = {"in_channels": 1, "num_classes": 2, "image_size": 8}
Change = Callable[[Tensor, Tensor], Any]
LOADERS = ("train", "val", "test", "predict")


class Samples(Dataset[Any]):
    """Twelve images and labels, with a change applied to each sample."""

    def __init__(self, change: Change | None) -> None:
        self.change = change
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(12, 1, 8, 8, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index], torch.tensor(index % 2)
        return (image, label) if self.change is None else self.change(image, label)


class Stream(IterableDataset[Any]):
    """The samples without a length."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __iter__(self) -> Any:
        return (self.samples[i] for i in range(len(self.samples)))


class Own(LightningDataModule):
    """A user's data, with a change to the batches of some loaders."""

    def __init__(
        self, change: Change | None = None, where: tuple[str, ...] = LOADERS, mode: str = "search"
    ) -> None:
        super().__init__()
        self.change = change
        self.where = where
        self.mode = mode

    def loader(self, name: str) -> DataLoader[Any]:
        return DataLoader(Samples(self.change if name in self.where else None), 4)

    def train_dataloader(self) -> Any:
        if self.mode == "retrain":
            return self.loader("train")
        halves = {"train": self.loader("train"), "val": self.loader("train")}
        return CombinedLoader(halves, "min_size")

    def val_dataloader(self) -> Any:
        return self.loader("val")

    def test_dataloader(self) -> Any:
        return self.loader("test")

    def predict_dataloader(self) -> Any:
        return self.loader("predict")


def searching() -> SearchModule:
    return SearchModule(SPEC, tiny_supernet())


def retraining() -> RetrainModule:
    genotype: Genotype = PUBLISHED["DARTS_V2"]
    return RetrainModule(SPEC, genotype.to_dict(), DartsNetwork(4, 3), auxiliary_weight=0.0)


def weights(module: Stage) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


# -- what is refused -----------------------------------------------------------------------------

REFUSED: dict[str, tuple[Change, str]] = {
    "labels from 1": (lambda x, y: (x, y + 1), "labels must be from 0 to 1 .*found 1 to 2"),
    "labels from -1": (lambda x, y: (x, y - 1), "labels must be from 0 to 1 .*found -1 to 0"),
    "ignored labels": (lambda x, y: (x, y * 0 - 100), "found -100 to -100"),
    "one-hot": (lambda x, y: (x, torch.eye(2)[y]), r"argmax\(1\) of one-hot"),
    "two labels each": (lambda x, y: (x, torch.stack([y, y])), "one class number each"),
    "float labels": (lambda x, y: (x, y.float()), r"whole numbers, found float32 \(4,\): .*long"),
    "texts as labels": (lambda x, y: (x, "ab"[y]), "labels must be a tensor, found a tuple"),
    "bytes": (lambda x, y: (x.byte(), y), "floating-point numbers, found uint8"),
    "channels last": (lambda x, y: (x.permute(1, 2, 0), y), r"permute\(0, 3, 1, 2\)"),
    "no channel": (lambda x, y: (x[0], y), r"found \(4, 8, 8\): add the channel"),
    "another size": (lambda x, y: (x.repeat(1, 2, 2), y), r"\(B, 1, 8, 8\).*found \(4, 1, 16, 16"),
    "not square": (lambda x, y: (x.repeat(1, 1, 2), y), r"found \(4, 1, 8, 16\)"),
    "three channels": (lambda x, y: (x.repeat(3, 1, 1), y), r"found \(4, 3, 8, 8\)"),
    "a dict": (lambda x, y: {"image": x, "label": y}, "a dict with the keys image, label"),
    "only images": (lambda x, y: x, r"pair \(images, labels\), found float32 \(4, 1, 8, 8\)"),
    "NaN": (lambda x, y: (x * torch.nan, y), "images must be finite, found NaN"),
    "infinite": (lambda x, y: (x / 0, y), "images must be finite, found infinite numbers"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("make", [searching, retraining])
def test_unfit_training_batches_are_refused_before_a_step(
    make: Callable[[], Stage], kind: str, make_trainer: TrainerFactory
) -> None:
    change, words = REFUSED[kind]
    module = make()
    data = Own(change, ("train",), "retrain" if make is retraining else "search")
    before = weights(module)
    where = "Own.train_dataloader" + (", half 'train'" if make is searching else "")
    with pytest.raises(DataError, match=f"{where}: .*{words}") as error:
        make_trainer(limit_val_batches=0).fit(module, datamodule=data)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


@pytest.mark.parametrize("loader", ["val", "test", "predict"])
@pytest.mark.parametrize("make", [searching, retraining])
def test_every_loader_is_looked_at(
    make: Callable[[], Stage], loader: str, make_trainer: TrainerFactory
) -> None:
    module, before = make(), None
    data = Own(lambda x, y: (x.repeat(3, 1, 1), y), (loader,))
    data.mode = "retrain" if make is retraining else "search"
    trainer = make_trainer()
    verb: Any = {"val": trainer.fit, "test": trainer.test, "predict": trainer.predict}[loader]
    before = weights(module)
    with pytest.raises(DataError, match=rf"^Own.{loader}_dataloader: images must have the shape"):
        verb(module, datamodule=data)  # a fit looks at the validation data first
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


def test_a_label_out_of_range_in_a_later_batch_is_named(make_trainer: TrainerFactory) -> None:
    data = Own(mode="retrain")
    labels = torch.tensor([0, 1] * 5 + [2, 1])
    loader: DataLoader[Any] = DataLoader(TensorDataset(Samples(None).images, labels), 4)
    data.loader = lambda name: loader  # type: ignore[method-assign] # replaced in a test
    with pytest.raises(DataError, match=r"labels must be from 0 to 1 .*found 0 to 2"):
        make_trainer(limit_val_batches=0).fit(retraining(), datamodule=data)


# -- batches of a search ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("combine", "words"),
    [
        (lambda a, b: a, "found a list of 2"),
        (lambda a, b: [a, b], "found a list of 2"),
        (lambda a, b: {"a": a, "b": b}, "found a dict with the keys a, b"),
    ],
)
def test_batches_without_two_halves_are_refused(
    combine: Callable[..., Any], words: str, make_trainer: TrainerFactory
) -> None:
    data = Own()
    loaders = data.loader("train"), data.loader("train")
    data.train_dataloader = lambda: combine(*loaders)  # type: ignore[method-assign] # replaced
    with pytest.raises(DataError, match=f"Own.train_dataloader: .*{words}.*CombinedLoader"):
        make_trainer(limit_val_batches=0).fit(searching(), datamodule=data)


def test_halves_of_unequal_length_must_not_leave_one_alone(make_trainer: TrainerFactory) -> None:
    short = DataLoader(torch.utils.data.Subset(Samples(None), range(4)), 4)

    def fitted(mode: Any) -> int:
        data = Own()
        halves = {"train": data.loader("train"), "val": short}
        data.train_dataloader = lambda: CombinedLoader(halves, mode)  # type: ignore[method-assign] # replaced
        trainer = make_trainer(limit_val_batches=0)
        trainer.fit(searching(), datamodule=data)
        return int(trainer.fit_loop.epoch_loop.batch_progress.total.completed)

    with pytest.raises(DataError, match=r"halves have 3 and 1 batches.*min_size or max_size_cycle"):
        fitted("max_size")
    assert fitted("max_size_cycle") == 3
    assert fitted("min_size") == 1


# -- what is converted or works ----------------------------------------------------------------

PLAIN: Change = lambda x, y: (x, y)  # noqa: E731 (one of a table)
EQUAL: dict[str, Change] = {
    "int32": lambda x, y: (x, y.int()),
    "column": lambda x, y: (x, y[None]),
    "double": lambda x, y: (x.double(), y),
    "triple": lambda x, y: (x, y, 7),
}


@pytest.mark.filterwarnings("ignore:Own.*a batch has 3 parts")
@pytest.mark.parametrize("kind", EQUAL)
def test_other_types_train_like_the_plain_ones(kind: str, make_trainer: TrainerFactory) -> None:
    def trained(change: Change) -> dict[str, Tensor]:
        torch.manual_seed(0)
        module = searching()
        trainer = make_trainer()
        trainer.fit(module, datamodule=Own(change))
        [metrics] = trainer.test(module, datamodule=Own(change), verbose=False)
        return {**weights(module), "loss": torch.tensor(metrics["one_shot/test_loss"])}

    plain, other = trained(PLAIN), trained(EQUAL[kind])
    for name, value in plain.items():
        assert torch.equal(value, other[name]), name


def test_parts_that_are_not_used_are_told(make_trainer: TrainerFactory) -> None:
    with pytest.warns(UserWarning, match="3 parts, of which only the first 2 are used"):
        make_trainer().validate(searching(), datamodule=Own(EQUAL["triple"]), verbose=False)


@pytest.mark.parametrize("images_only", [lambda x, y: x, lambda x, y: (x,)])
def test_images_without_labels_are_predicted(
    images_only: Change, make_trainer: TrainerFactory
) -> None:
    torch.manual_seed(0)
    module = retraining()

    def predicted(change: Change) -> Tensor:
        found: Any = make_trainer().predict(module, datamodule=Own(change, mode="retrain"))
        return torch.cat(found)

    assert torch.equal(predicted(images_only), predicted(PLAIN))


def test_data_without_a_length_are_searched(make_trainer: TrainerFactory) -> None:
    data = Own()
    data.loader = lambda name: DataLoader(Stream(Samples(None)), 4)  # type: ignore[method-assign] # replaced
    trainer = make_trainer()
    trainer.fit(searching(), datamodule=data)
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 3


# -- other tasks -------------------------------------------------------------------------------

INVERSE = {
    "in_channels": 1,
    "image_size": 8,
    "dims": 1,
    "peak": 1.0,
    "operator": {
        "class_path": "nas_lightning.operators.BlurDownsample",
        "init_args": {"sigma": 1.0, "taps": 3, "stride": 2},
    },
}


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ((torch.zeros(2, 1, 4), torch.zeros(2, 1, 8)), None),
        ((torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)), r"measurements .*\(B, 1, 4\)"),
        ((torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)), r"targets .*\(B, 1, 8\)"),
        ((torch.zeros(2, 1, 4), torch.zeros(3, 1, 8)), "must be as many, found 2 and 3"),
        ((torch.zeros(2, 1, 4).int(), torch.zeros(2, 1, 8)), "floating-point"),
    ],
)
def test_measurements_are_compared_with_the_operator(batch: Any, words: str | None) -> None:
    found = Reconstruction().mismatch(batch, INVERSE, targets=True)
    assert (found is None) if words is None else (found and re.search(words, found))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ((torch.ones(3, 2).long(), torch.ones(3, 2).int()), None),
        ((torch.ones(3, 2).long(), torch.ones(3, 2).long() * 4), "following words must be from 0"),
        ((torch.ones(3, 2), torch.ones(3, 2)), "words must be whole numbers"),
        ((torch.ones(3).long(), torch.ones(3).long()), r"shape \(T, columns\)"),
    ],
)
def test_words_are_compared_with_the_vocabulary(batch: Any, words: str | None) -> None:
    found = LanguageModeling().mismatch(batch, {"num_tokens": 4}, targets=True)
    assert (found is None) if words is None else (found and re.search(words, found))


def test_conversions_do_not_copy_what_fits() -> None:
    images, labels = torch.zeros(2, 1, 8, 8), torch.zeros(2).long()
    found = Classification().conform((images, labels), torch.float32)
    assert found[0] is images
    assert found[1] is labels
