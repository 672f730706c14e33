"""Results as text and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas_lightning.bench.counters import Counts
from nas_lightning.bench.results import Change, Results, Row

Column = tuple[str, Callable[[Row], str]]


def duration(seconds: float) -> str:
    """Format a time, such as `12.3 ms`, `4.56 s`, `7.8 min` or `9.1 h`."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= (1.5 * size if size > 1 else size):
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def _count(of: Callable[[Counts], str]) -> Callable[[Row], str]:
    return lambda row: "-" if row.counts is None else of(row.counts)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f}"


COLUMNS: tuple[Column, ...] = (
    ("setting", lambda row: row.group),
    ("step", lambda row: row.step),
    ("case", lambda row: row.case),
    ("batch", lambda row: str(row.images)),
    ("median", lambda row: duration(row.median)),
    ("spread", lambda row: duration(row.spread)),
    ("images/s", lambda row: f"{row.images_per_second:,.4g}"),
    ("ratio", lambda row: f"{row.ratio:.2f}"),
    ("full run", lambda row: "-" if row.full_seconds is None else duration(row.full_seconds)),
    ("kernels (dispatched)", _count(lambda c: f"{c.kernels:,}")),
    ("GPU kernels", _count(lambda c: "-" if c.launches is None else f"{c.launches:,}")),
    ("GFLOP", _count(lambda c: f"{c.flops / 1e9:,.3g}")),
    ("saved MiB", _count(lambda c: _mebibytes(c.saved_bytes))),
    ("peak MiB", _count(lambda c: _mebibytes(c.peak_bytes))),
)
WORDS = 3
"""Number of first columns that hold words, aligned left; the others hold numbers, aligned right."""


def _cells(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the names and entries of all columns that are not empty."""
    columns = [c for c in COLUMNS if any(c[1](row) != "-" for row in results.rows)]
    return [name for name, _ in columns], [[of(row) for _, of in columns] for row in results.rows]


def text(results: Results) -> str:
    """Format the machine and a table for a terminal."""
    head, rows = _cells(results)
    return f"{machine_line(results)}\n\n{aligned([head, *rows], WORDS)}"


def markdown(results: Results) -> str:
    """Format a table in Markdown."""
    head, rows = _cells(results)
    rules = ["---" if i < WORDS else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


def aligned(rows: Sequence[Sequence[str]], words: int) -> str:
    """Align rows in columns, the first `words` columns left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{entry:<{width}}" if i < words else f"{entry:>{width}}"
            for i, (entry, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def changes(found: Sequence[Change], warnings: Sequence[str]) -> str:
    """Format the changes since an older result: the ratio of times and the noise."""
    rows = [["setting", "step", "case", "new/old", "within noise"]]
    rows += [
        [c.row.group, c.row.step, c.row.case, f"{c.ratio:.3f}", f"1 ± {c.noise:.3f}"] for c in found
    ]
    return "\n".join([*(f"warning: {line}" for line in warnings), aligned(rows, WORDS)])


def machine_line(results: Results) -> str:
    """Format date, device and versions in one line."""
    m = results.machine
    threads = ", ".join(dict.fromkeys(str(row.threads) for row in results.rows))
    cuda = f", CUDA {m['cuda']}" if m.get("cuda") else ""
    return (
        f"{m['date']}, {m['device']}, threads {threads}, torch {m['torch']}{cuda}, "
        f"lightning {m['lightning']}, Python {m['python']}"
    )
