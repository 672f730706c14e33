"""Known linear forward operators of inverse problems, each with its exact adjoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nas_lightning import hparams
from nas_lightning.errors import UsageError
from nas_lightning.imports import import_object
from nas_lightning.ranges import POSITIVE, SEED, Range, at_least, check


class Operator(nn.Module, ABC):
    """A linear map A from signals (B, C, *n) to measurements (B, C, *m).

    It acts on every sample and channel in the same way, along the one or two trailing dimensions.
    Its spectral norm is at most 1 (up to rounding); steps along the data gradient A'(Au - y) rely
    on this. It has no parameters and saves nothing in checkpoints. A subclass keeps every
    constructor argument, which must be plain data, under its own name.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[tuple[torch.Size, torch.device, torch.dtype], Tensor] = {}

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the measurements A x (B, C, *m) of signals x (B, C, *n), without noise."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Return A' y (B, C, *n) for y (B, C, *m), with <A x, y> = <x, A' y> for all x and y."""

    def to_config(self) -> dict[str, Any]:
        """Return the operator as plain data, `{"class_path": …, "init_args": …}`."""
        config: dict[str, Any] = hparams.to_config(self)
        return config

    def _once(self, make: Callable[[torch.Size], Tensor], size: torch.Size, like: Tensor) -> Tensor:
        """Return `make(size)`, computed once for each size, device and dtype."""
        key = (size, like.device, like.dtype)
        if key not in self._made:
            # training reuses it, so it must be an ordinary tensor even if a validation or a network
            # on the meta device asks first
            with torch.inference_mode(False), torch.device("cpu"):
                self._made[key] = make(size).to(like.device, like.dtype)
        return self._made[key]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return hparams.describe(self)


class Identity(Operator):
    """The identity A x = x. The inverse problem is denoising."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the signals (B, C, *n) unchanged."""
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the measurements (B, C, *n) unchanged."""
        return y


class Blur(Operator):
    """Circular convolution with a Gaussian along each spatial dimension; a symmetric operator.

    Args:
        sigma: Standard deviation of the Gaussian, in samples or pixels.
        taps: Length of the kernel, odd. The Gaussian is cut off there and normalised to sum 1.

    Raises:
        UsageError: An argument is out of range.
    """

    stride = 1  # every sample is kept

    def __init__(self, sigma: float = 2.0, taps: int = 9) -> None:
        super().__init__()
        self.sigma = sigma
        self.taps = taps
        check(self, sigma=POSITIVE, taps=at_least(1, 1_000_000))
        if taps % 2 == 0:
            raise UsageError(f"{type(self).__name__}: taps must be odd, found {taps}")

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurements (B, C, *m) with m = n / stride."""
        for dim in range(2, 2 + spatial_dims(x)):
            matrix = self._once(self._matrix, x.shape[dim : dim + 1], x)
            x = _multiply(matrix, x, dim)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Insert zeros between the measurements, if there is a stride, and blur (B, C, *n)."""
        for dim in range(2, 2 + spatial_dims(y)):
            matrix = self._once(self._matrix, torch.Size([y.shape[dim] * self.stride]), y)
            y = _multiply(matrix.T, y, dim)
        return y

    def _matrix(self, size: torch.Size) -> Tensor:
        """Return the operator along one dimension as a matrix (m, n).

        On a CPU, with 64 samples or 32 pixels, a matrix is faster than a convolution.
        """
        offsets = torch.arange(self.taps) - self.taps // 2
        kernel = torch.exp(-0.5 * (offsets.double() / self.sigma) ** 2)
        # a kernel longer than the signal wraps around several times
        wrapped = kernel.new_zeros(size).index_add(0, offsets % size[0], kernel / kernel.sum())
        samples = torch.arange(size[0])
        return wrapped[(samples[:: self.stride, None] - samples) % size[0]]


class BlurDownsample(Blur):
    """A blur followed by keeping every `stride`-th sample or pixel, scaled to norm 1.

    Without the scale, A'A would shrink a constant by the factor `stride`, and steps along the data
    gradient would be too short by that factor.

    Args:
        sigma: Standard deviation of the Gaussian, in samples or pixels, see `Blur`.
        taps: Length of the kernel, odd.
        stride: Samples or pixels per measurement, along each dimension.

    Raises:
        UsageError: An argument is out of range or, on use, `stride` does not divide the size.
    """

    def __init__(self, sigma: float = 2.0, taps: int = 9, stride: int = 4) -> None:
        super().__init__(sigma, taps)
        self.stride = stride
        check(self, stride=at_least(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the measurements (B, C, *m) with m = n / stride."""
        if any(size % self.stride for size in x.shape[2:]):
            raise UsageError(
                f"BlurDownsample: stride {self.stride} must divide the size, "
                f"found {tuple(x.shape[2:])}"
            )
        return super().forward(x)

    def _matrix(self, size: torch.Size) -> Tensor:
        """Return the operator along one dimension (m, n), with largest singular value 1."""
        matrix = super()._matrix(size)
        scaled: Tensor = matrix / torch.linalg.matrix_norm(matrix, ord=2)
        return scaled


class Inpainting(Operator):
    """A fixed mask: some samples or pixels, always the same ones, are missing and measured as 0.

    Args:
        size: Number of samples of a signal, or height and width of an image in pixels.
        keep: Share of the samples or pixels that are measured, above 0 and at most 1.
        seed: Seed of the mask.

    Raises:
        UsageError: An argument is out of range or, on use, a signal has another size.
    """

    def __init__(self, size: int, keep: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        self.size = size
        self.keep = keep
        self.seed = seed
        check(self, size=at_least(1, 1_000_000), keep=Range(high=1, above=True), seed=SEED)

    def forward(self, x: Tensor) -> Tensor:
        """Return the signals (B, C, *n) with zeros for the missing samples."""
        size = x.shape[2:]
        if size != (self.size,) * spatial_dims(x):
            raise UsageError(
                f"Inpainting: size is {self.size}, but a signal has size {tuple(size)}: "
                f"set size to that of the data"
            )
        return x * self._once(self._mask, size, x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `forward(y)`: the operator is diagonal."""
        return self.forward(y)

    def _mask(self, size: torch.Size) -> Tensor:
        """Return a mask in which a share `keep` of the entries, and at least one, is 1."""
        count = size.numel()
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        mask = torch.zeros(count)
        mask[order[: max(1, round(self.keep * count))]] = 1.0
        return mask.view(size)


def spatial_dims(x: Tensor) -> int:
    """Return the number of spatial dimensions of signals (B, C, *n).

    Raises:
        UsageError: The number is neither 1 nor 2.
    """
    if (dims := x.dim() - 2) not in (1, 2):
        raise UsageError(
            f"an operator takes (batch, channels, length) or (batch, channels, height, width), "
            f"found shape {tuple(x.shape)}"
        )
    return dims


def build_operator(config: Mapping[str, Any]) -> Operator:
    """Build an operator from the plain data that `Operator.to_config` returns.

    Raises:
        UsageError: `config` does not describe an operator.
    """
    try:
        operator = import_object(config["class_path"])(**config.get("init_args", {}))
    except (UsageError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"no operator can be built from {dict(config)}: {error}") from error
    if not isinstance(operator, Operator):
        raise UsageError(f"{config['class_path']} is not an operator")
    return operator


def tikhonov(operator: Operator, y: Tensor, strength: float, iterations: int = 100) -> Tensor:
    """Reconstruct without learning (Tikhonov): argmin over u of |A u - y|² + strength · |u|².

    Runs conjugate gradients on the normal equations (A'A + strength) u = A'y, independently for
    each sample. The error shrinks by a factor of about (1 - 2·√strength) per iteration, since the
    norm of A is at most 1.

    Args:
        operator: A.
        y: Measurements (B, C, *m).
        strength: Weight of the penalty, positive.
        iterations: Largest number of iterations; it stops early at the exact solution.

    Returns:
        The minimisers u (B, C, *n).

    Raises:
        UsageError: An argument is out of range.
    """
    if strength <= 0:
        raise UsageError(f"tikhonov: strength must be positive, found {strength}")
    if iterations < 1:
        raise UsageError(f"tikhonov: iterations must be at least 1, found {iterations}")
    residual = direction = operator.adjoint(y)
    u = torch.zeros_like(residual)
    square = _dot(residual, residual)
    start = square
    for _ in range(iterations):
        image = operator.adjoint(operator(direction)) + strength * direction
        # a solved sample has direction zero: avoid 0 / 0
        step = square / _dot(direction, image).clamp_min(torch.finfo(y.dtype).tiny)
        u = u + step * direction
        residual = residual - step * image
        before, square = square, _dot(residual, residual)
        if (square <= torch.finfo(y.dtype).eps ** 2 * start).all():
            break
        direction = residual + square / before.clamp_min(torch.finfo(y.dtype).tiny) * direction
    return u


def _multiply(matrix: Tensor, x: Tensor, dim: int) -> Tensor:
    """Multiply each line of x along a dimension by a matrix."""
    return x @ matrix.T if dim == x.dim() - 1 else matrix @ x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each sample, in shape (B, 1, …) for broadcasting."""
    return (a * b).sum(dim=tuple(range(1, a.dim())), keepdim=True)
