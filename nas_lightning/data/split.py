"""Fixed, seeded splits of a data set in two."""

from collections.abc import Sequence

import torch

from nas_lightning.randomness import mix_seed


def split_indices(
    labels_or_size: Sequence[int] | int, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split the indices from 0 to n - 1 in two.

    Args:
        labels_or_size: Class of every sample, to split each class in the same proportion, up to
            one sample; or the number of samples n, to split without classes.
        fraction: Share of the second part, from 0 to 1; its size is `round(fraction * n)`.
        seed: Seed, which determines the split.

    Returns:
        The first and the second part, sorted and disjoint. Together they contain all indices.
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
    """Return integers near `fraction * size` whose sum is the rounded share of all.

    Each share is rounded down, and the rest goes to those with the largest remainders.
    """
    exact = [fraction * size for size in sizes]
    counts = [int(share) for share in exact]
    left = round(fraction * sum(sizes)) - sum(counts)
    by_remainder = sorted(range(len(sizes)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[:left]:
        counts[i] += 1
    return counts
