"""The files of a surrogate: an archive of NumPy, or ONNX."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_lightning.architecture import Genotype
from nas_lightning.errors import DataError, UsageError
from nas_lightning.studies.surrogate.encoding import Encoding
from nas_lightning.text import one_line

EPOCH = 98
"""Epoch of the predicted accuracy, the last of NAS-Bench-301's curves."""
SCALE = 52.0
"""The network takes the epoch divided by this."""
LARGEST = 2**28
"""Bytes of a model, 256 MiB."""
LAYER = re.compile(r"(wide|deep|deeper)\.(\d+)(?:\.\d+)?\.weight")

Array = NDArray[np.float32]
Predict = Callable[[Sequence[int]], float]
"""Categories (34,) → accuracy in percent."""


class Surrogate:
    """A model that predicts the validation accuracy of NAS-Bench-301's protocol at epoch 98.

    Args:
        name: Its name in answers.
        encoding: Its encoding.
        predict: Categories (34,) → accuracy in percent.
    """

    def __init__(self, name: str, encoding: Encoding, predict: Predict) -> None:
        self.name = name
        self.encoding = encoding
        self._predict = predict

    @classmethod
    def load(cls, path: Path, encoding: Encoding | None = None) -> Surrogate:
        """Read a model: `.npz` by NumPy alone, or `.onnx` by onnxruntime.

        Args:
            path: The file.
            encoding: Its encoding; by default the one in the same folder.

        Raises:
            DataError: It is not such a model.
            UsageError: Another suffix, no encoding, or onnxruntime is not installed.
        """
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path} is no surrogate: expected {' or '.join(SUFFIXES)}")
        if not path.is_file():
            raise DataError(f"cannot read {path}: there is no such file")
        if path.stat().st_size > LARGEST:
            raise DataError(f"cannot read {path}: it is larger than {LARGEST >> 20} MiB")
        encoding = encoding or Encoding.beside(path)
        return cls(path.name, encoding, SUFFIXES[path.suffix](path, encoding))

    def predict(self, genotype: Genotype) -> float:
        """Return the predicted validation accuracy, 0 to 1.

        Raises:
            UsageError: The surrogate does not know such cells.
        """
        return self._predict(self.encoding.encode(genotype)) / 100


def forward(weights: Mapping[str, Array], categories: Sequence[int], epoch: float) -> Array:
    """Return the two outputs in percent (2,), of which the first is the accuracy.

    The network is sigmoid(wide(x) + deep(x) + deeper(x)), where x is the embeddings of the
    categories and the epoch, and SELU stands between the layers of each part.

    Args:
        weights: Arrays of the archive, in float32.
        categories: Number of each variable's category (34,).
        epoch: The epoch.
    """
    embedded = [weights[f"embedding_{i:02}"][number] for i, number in enumerate(categories)]
    x = np.concatenate([*embedded, np.asarray([epoch / SCALE], dtype=np.float32)])
    total: Array = np.zeros(2, dtype=np.float32)
    for part in ("wide", "deep", "deeper"):
        y: Array = x
        for i, name in enumerate(_layers(weights, part)):
            y = weights[f"{name}.weight"] @ (_selu(y) if i else y) + weights[f"{name}.bias"]
        total = total + y
    percent: Array = (100 / (1 + np.exp(-total))).astype(np.float32)
    return percent


def _layers(weights: Mapping[str, Array], part: str) -> list[str]:
    """Return the names of a part's layers, in order.

    Raises:
        KeyError: There is none.
    """
    found = {
        int(match[2]): name.removesuffix(".weight")
        for name in weights
        if (match := LAYER.fullmatch(name)) and match[1] == part
    }
    if not found:
        raise KeyError(f"{part}.0.weight")
    return [found[i] for i in sorted(found)]


def _selu(x: Array) -> Array:
    scale, alpha = np.float32(1.0507009873554805), np.float32(1.6732632423543772)
    found: Array = np.where(x > 0, scale * x, scale * alpha * np.expm1(np.minimum(x, 0)))
    return found


def _open_npz(path: Path, encoding: Encoding) -> Predict:
    """Read an archive; objects in it are refused, since reading them would run code."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise DataError(f"cannot read {path}: it is larger than {LARGEST >> 20} MiB")
        with np.load(path, allow_pickle=False) as archive:
            weights = {name: archive[name].astype(np.float32) for name in archive.files}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {one_line(str(error), 200)}") from error
    for i, size in enumerate(encoding.sizes):
        table = weights.get(f"embedding_{i:02}")
        if table is None or table.ndim != 2 or len(table) != size:
            raise DataError(f"{path} needs embedding_{i:02} with {size} rows, as the encoding has")

    def predict(categories: Sequence[int]) -> float:
        return float(forward(weights, categories, EPOCH)[0])

    return _tried(predict, path, encoding)


def _open_onnx(path: Path, encoding: Encoding) -> Predict:
    """Read a model of ONNX.

    The model of 2021 has two outputs, the accuracy in percent; the second version has four, the
    accuracy from 0 to 1.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            f"{path} needs onnxruntime: pip install 'nas-lightning[export]', or name the .npz file"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own classes of errors
        raise DataError(f"cannot read {path}: {one_line(str(error), 200)}") from error
    epoch = np.asarray([[EPOCH]], dtype=np.float32)

    def predict(categories: Sequence[int]) -> float:
        given = {"x_cat": np.asarray([categories], dtype=np.int32), "x_cont": epoch}
        try:
            (found,) = session.run(None, given)
        except Exception as error:  # its own classes of errors
            raise ValueError(one_line(str(error), 200)) from error
        return float(found[0, 0]) * (100 if found.shape[1] == 4 else 1)

    return _tried(predict, path, encoding)


def _tried(predict: Predict, path: Path, encoding: Encoding) -> Predict:
    """Return a function that has been called once, so that an unfit file is refused at once."""
    try:
        found = predict([0] * len(encoding.sizes))
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} is not a surrogate of NAS-Bench-301: {one_line(str(error), 200)}"
        ) from error
    if not 0 <= found <= 100:
        raise DataError(f"{path} is not a surrogate of NAS-Bench-301: it predicts {found:g} %")
    return predict


SUFFIXES: Mapping[str, Callable[[Path, Encoding], Predict]] = {
    ".npz": _open_npz,
    ".onnx": _open_onnx,
}
"""Readers by suffix."""
