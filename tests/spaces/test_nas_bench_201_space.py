import functools

import torch
from torch import nn

from nas_lightning.layers.heads import ClassificationHead
from nas_lightning.layers.primitives import PRIMITIVES, RETRAIN_NORM, NormRule
from nas_lightning.spaces import NAS_BENCH_201_PRIMITIVES, get_space
from nas_lightning.spaces.nas_bench_201.skeleton import ResidualReduction, Skeleton


def test_six_edges_in_the_order_of_the_benchmark() -> None:
    space = get_space("nas_bench_201")
    (cell,) = space.cells
    # "1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2"
    assert [str(edge) for edge in cell.edges] == ["0-1", "0-2", "1-2", "0-3", "1-3", "2-3"]
    assert cell.concat == (3,)
    assert cell.nodes == (1, 2, 3)
    assert len(cell.primitives) ** len(cell.edges) == 15_625
    assert space.excluded == frozenset()
    assert ",".join(NAS_BENCH_201_PRIMITIVES) == (
        "none,skip_connect,nor_conv_1x1,nor_conv_3x3,avg_pool_3x3"
    )


def test_convolutions_have_a_bias_if_batch_norm_has_no_shift() -> None:
    search = NormRule(affine=False, after_pool=False, running_stats=False)
    for name, kernel in (("nor_conv_1x1", 1), ("nor_conv_3x3", 3)):
        for norm, extra in ((search, 4), (RETRAIN_NORM, 8)):
            op = PRIMITIVES[name](4, 1, norm)
            assert sum(p.numel() for p in op.parameters()) == 4 * 4 * kernel**2 + extra


def test_a_reduction_equals_its_formula() -> None:
    torch.manual_seed(0)
    norm = NormRule(affine=True, after_pool=False, running_stats=True)
    block = ResidualReduction(4, norm).eval().double()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    body = [m for m in block.body if isinstance(m, nn.Conv2d)]
    inner = nn.functional.conv2d(x.relu(), body[0].weight, stride=2, padding=1)
    scale = (1 + 1e-5) ** -0.5  # initial statistics: mean 0, variance 1
    main = nn.functional.conv2d((inner * scale).relu(), body[1].weight, padding=1) * scale
    pooled = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    shortcut = torch.einsum("oi,bihw->bohw", block.shortcut[1].weight[:, :, 0, 0], pooled)  # type: ignore[index]
    torch.testing.assert_close(block(x), main + shortcut)


def test_the_skeleton_halves_twice_and_doubles_twice() -> None:
    seen: list[tuple[int, ...]] = []

    class Record(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.channels = channels

        def forward(self, x: torch.Tensor, word: str, number: int) -> torch.Tensor:
            assert (word, number) == ("mixing", len(seen))
            seen.append((self.channels, *x.shape[1:]))
            return x

    head = functools.partial(ClassificationHead, out_features=7)
    skeleton = Skeleton(3, 4, 2, running_stats=True, make_cell=Record, make_head=head)
    assert skeleton(torch.randn(2, 3, 8, 8), *(("mixing", i) for i in range(6))).shape == (2, 7)
    assert seen == [(c, c, s, s) for c, s in ((4, 8), (4, 8), (8, 4), (8, 4), (16, 2), (16, 2))]
