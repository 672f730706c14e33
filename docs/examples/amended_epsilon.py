"""Show how the finite-difference amendment depends on the length of its steps.

For a newly initialised supernet on synthetic images, the script prints the norm of the amendment
relative to the direct term, and the cosine between the two, with double backward and with finite
differences.
"""

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.data import Synthetic
from nas_lightning.search import BilevelProblem, SearchModule
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies.amended import amended_gradient


def main() -> None:
    """Print the table."""
    lightning.seed_everything(0, verbose=False)
    data = Synthetic(in_channels=3, num_classes=4, image_size=8, train_size=64, batch_size=32)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))[0]
    primitives = ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"]
    supernet = DartsSupernet(channels=8, layers=3, nodes=2, primitives=primitives)
    module = SearchModule(data.data_spec, supernet).double()

    def loss(half: str) -> Tensor:
        images, labels = batch[half]
        return F.cross_entropy(module(images.double()), labels)

    problem = BilevelProblem(
        inner=lambda: loss("train"),
        outer=lambda: loss("val"),
        weights=dict(module.supernet.named_parameters()),
        arch=module.arch.named(),
    )
    settings: dict[str, dict[str, float]] = {"double backward": {}}
    settings |= {f"epsilon {10.0**-k:.0e}": {"epsilon": 10.0**-k} for k in range(8)}
    print(f"{'':<16} {'ratio':>12} {'cosine':>8}")
    for name, arguments in settings.items():
        found = amended_gradient(problem, 0.1, exact=not arguments, **arguments)
        print(f"{name:<16} {found.ratio.item():>12.4g} {found.cosine.item():>8.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
