"""Fixed, seeded splits of a data set in two."""

from collections.abc import Sequence

import torch

from nas_lightning.randomness import mix_seed


def split_indices(
    labels_or_size: Sequence[int] | int, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split `0 .. n - 1` in two.

    Args:
        labels_or_size: The class of every sample: then each class is split in the same proportion,
            up to one sample. Or the number of samples: then classes are not looked at.
        fraction: Share of the second part, from 0 to 1; its size is `round(fraction * n)`.
        seed: The same seed always gives the same split.

    Returns:
        The first and the second part: sorted, disjoint, together everything.
    """
    labels = [0] * labels_or_size if isinstance(labels_or_size, int) else labels_or_size
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(int(label), []).append(index)
    generator = torch.Generator().manual_seed(mix_seed(seed, len(labels)))
    second: list[int] = []
    classes = sorted(groups)
    counts = _shares([len(groups[c]) for c in classes], fraction)
    for label, count in zip(classes, counts, strict=True):
        group = groups[label]
        order = torch.randperm(len(group), generator=generator).tolist()
        second += [group[i] for i in order[:count]]
    chosen = set(second)
    return [i for i in range(len(labels)) if i not in chosen], sorted(second)


def _shares(sizes: list[int], fraction: float) -> list[int]:
    """Whole numbers near `fraction * size` whose sum is the rounded share of all.

    Everyone gets the rounded-down share; what is left goes to the largest remainders.
    """
    exact = [fraction * size for size in sizes]
    counts = [int(share) for share in exact]
    left = round(fraction * sum(sizes)) - sum(counts)
    by_remainder = sorted(range(len(sizes)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[:left]:
        counts[i] += 1
    return counts
