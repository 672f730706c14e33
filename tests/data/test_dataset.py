import random

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from nas_lightning.data import AugmentedDataset, EpochSampler, TensorImages


class Draw(nn.Module):
    """Replaces the image by a draw of the generator."""

    def forward(self, image: Tensor) -> Tensor:
        return image + torch.rand(3)


def dataset(seed: int = 0) -> AugmentedDataset:
    return AugmentedDataset(TensorImages(torch.zeros(20, 3), list(range(20))), Draw(), seed)


def test_draws_depend_on_seed_epoch_and_index_only() -> None:
    keys = [(epoch, index) for epoch in range(3) for index in range(20)]
    expected = {key: dataset()[key][0] for key in keys}
    random.Random(0).shuffle(keys)
    torch.manual_seed(5)
    shuffled = dataset()
    for key in keys:
        assert torch.equal(shuffled[key][0], expected[key])
    assert len({tuple(x.tolist()) for x in expected.values()}) == len(keys)
    assert not torch.equal(dataset(seed=1)[0, 0][0], expected[0, 0])


# torch warns on a machine with fewer cores than workers
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_same_in_any_worker() -> None:
    for workers in (0, 1, 3):
        sampler = EpochSampler(range(20), seed=workers)
        sampler.set_epoch(2)
        loader = DataLoader(
            dataset(),
            batch_size=3,
            sampler=sampler,
            num_workers=workers,
            generator=torch.Generator(),
        )
        seen = {int(i): x for images, labels in loader for x, i in zip(images, labels, strict=True)}
        assert len(seen) == 20
        assert all(torch.equal(x, dataset()[2, i][0]) for i, x in seen.items())


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = torch.rand(1)
    dataset()[0, 0]
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_the_state_is_restored_after_a_failure() -> None:
    class Fail(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise RuntimeError("no")

    broken = AugmentedDataset(TensorImages(torch.zeros(1, 3), [0]), Fail(), 0)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        broken[0, 0]
    assert torch.equal(torch.get_rng_state(), before)
