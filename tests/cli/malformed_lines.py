"""More of the table in test_malformed.py: studies, tables, command lines and configurations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nas_lightning.cli.process import NUMBERS
from tests.cli.malformed import LONG, NB201, NO_JSON, NO_YAML, Case, changed, dump, each, words

PATHS = (
    *("derive", "draw DARTS_V2 -o", "report", "report s --to", "configs copy digits_idarts"),
    *("export", "export runs/retrain -o"),
    *("lookup --table", "demo --run_dir", "study --config a --retrain b --dir"),
    "latency --config search -o",
)
"""Command lines whose next word is a path."""
WRONG = (
    *("info", "draw", "derive", "lookup", "report", "study", "submit", "configs show", "x", "--x"),
    *("configs copy", "info a b", "info --x", "draw DARTS_V2", "draw DARTS_V2 -o x", "configs x"),
    *(
        "draw DARTS_V2 -o x.gif",
        "draw no -o x.svg",
        "doctor --retrain x",
        "doctor x",
        "info no.json",
    ),
    *("bench --preset x", "bench --steps x", "study --config a", "configs show no", "report runs"),
    *("study --config ..=a --retrain b", "study --config a --retrain b --seeds 99999"),
    *("info DARTS_V2 --space x", "info DARTS_V2 --space os.system", "info DARTS_RNN_V1 --layers 3"),
    *("info supernet --space x.y", "info supernet --space no.such"),
    *("export", "export runs/retrain", "export runs -o x.pt2"),
    *("export runs/retrain -o x.h5", "export runs/retrain -o x.pt2 --tolerance x"),
)
"""Command lines that are wrong as they are."""
BEFORE = ("study --retrain retrain --config", "submit --dry-run --config", "doctor --search",
          "bench --config")  # fmt: skip
TEXTS = (
    *("a: 1\na: 2", "a: [1", "{model: [1]}", "{model: null}", "{model: {class_path: 3}}"),
    *("{model: {class_path: os.system}}", "{model: {init_args: 3}}", "{trainer: {1: 2}}"),
    *("{data: {class_path: 'a b'}}", "{run_dir: null}", "{run_dir: [1]}", r'{run_dir: "a\0b"}'),
    *(
        "{trainer: 3}",
        "{data: []}",
        r'{run_dir: "a\nb"}',
        "{data: {init_args: {batch_size: .nan}}}",
    ),
)
"""Configurations as texts of the command line."""


def studies(plan: Any, search: Any, retrain: Any, retrained: str) -> Iterator[Case]:
    """Plans and results of a study in the folder `s`, of one search and one retraining."""
    line = words("report s")
    found = "s/searches/darts/seed_0"
    for path in ("s/study.json", f"{found}/result.json", f"{found}/genotype.json"):
        for content in NO_JSON.values():
            code = 2 if path == "s/study.json" and content in (b"[1, 2]", b"3", b"null") else 1
            yield Case(line, {path: content}, code)
    wrong: list[tuple[str, Any]] = [
        *each("methods", ..., None, {}, [3], [{}]),
        *each("methods.0.name", 3, "", "..", "a/b"),
        *each("methods.0.configs", ..., "x", [3]),
        *(
            pair
            for key in ("seeds", "retrain_seeds", "random")
            for pair in each(key, "1", -1, 10**9, 1.5)
        ),
        *each("retrain", 3, {}, {"name": 3}),
        *each("metric", 3, None),
        *each("higher_is_better", 1, "yes"),
        *((key, 3.5) for key in ("table", "column", "search_options", "unknown")),
    ]
    for key, value in wrong:
        yield Case(line, {"s/study.json": dump(changed(plan, key, value))})
    for key, value in (("format", "x"), ("version", 2), ("version", None)):
        yield Case(line, {"s/study.json": dump(changed(plan, key, value))}, 2)
    optional = {"costs", "cpu_seconds"}  # earlier releases did not write them
    for key in search:
        for value in ("x", [], *(() if key in optional else (...,))):
            yield Case(line, {f"{found}/result.json": dump(changed(search, key, value))})
    yield Case(line, {f"{found}/result.json": dump(changed(search, "scores", {"x": 0.5}))})
    for key in retrain:
        for value in (..., "x", None):
            yield Case(line, {retrained: dump(changed(retrain, key, value))})


def tables() -> Iterator[Case]:
    """Tables of true accuracies."""
    line = words("lookup --table t.csv", NB201)
    head, row = "arch,cifar10_test\n", f"{NB201},90\n"
    for content in NO_JSON.values():
        yield Case(line, {"t.csv": content})
    wrong = [f"{NB201},{text}\n" for text in ("", "x", "nan", "101", "-1", "1e999")]
    wrong += ["", row + row, "|x~0|,3\n", f"{LONG},3\n", "x" * 200_000 + ",1\n"]
    for text in wrong:
        yield Case(line, {"t.csv": (head + text).encode()})
    yield Case(line, {"t.csv": b"arch\nx\n"}, 2)
    for more, code in (("--column x", 2), ("--rank runs", 2), ("--cells 2 --rank x", 2)):
        yield Case(words(f"lookup --table t.csv {more}"), {"t.csv": (head + row).encode()}, code)
    yield Case(words("lookup --table t.csv DARTS_V2"), {"t.csv": (head + row).encode()}, 2)
    yield Case(words("lookup --table no.csv", NB201))


def lines() -> Iterator[Case]:
    """Command lines of the verbs that are not Lightning's."""
    paths = ("", " ", "a\nb", "a\0b", "\udcff", "~nobody_of_this_name/x")
    for text in paths:
        for line in PATHS:
            yield Case(words(line, text), code=2)
        yield Case(words("info", text), code=2)
        yield Case(words("study --retrain retrain --config", f"a={text}"), code=2)
        yield Case(words("submit --config search --dry-run --folder", text), code=2)
    for text in ("", "a\nb", "a\n#SBATCH --wrap=x", "a\x1b[2J"):
        for option in ("--name", "--partition", "--account", "--mem", "--time"):
            yield Case(words(f"submit --config search --dry-run {option}", text), code=2)
        yield Case(words("study --config a --retrain b --slurm --partition", text), code=2)
    for text in ("0", "-1", "x", "1.5", "", "٣", "9" * 5000, "1e3"):
        yield Case(words("info DARTS_V2 --layers", text), code=2)
        yield Case(words("study --config a --retrain b --seeds", text), code=2)
        yield Case(words("submit --config search --nodes", text), code=2)
    for line in WRONG:
        yield Case(words(line), code=2)
    for line in ("derive genotype.json", "derive no.ckpt", "derive search.yaml", "info search.yaml",
                 "info runs/search/checkpoints/last.ckpt", "draw DARTS_V2 -o search.yaml/x.svg",
                 "configs copy digits_idarts search.yaml/x", "derive runs/retrain",
                 "export runs/search -o x.pt2", "export genotype.json -o x.pt2",
                 "export no -o x.pt2"):  # fmt: skip
        yield Case(words(line))


def variables() -> Iterator[Case]:
    """Environment variables."""
    for name in NUMBERS:
        for text in ("abc", "", "-1", "1.5", "9" * 5000 + "x"):
            yield Case(words("info DARTS_V2"), code=2, variables={name: text})
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "SLURM_NNODES"):
        yield Case(words("info DARTS_V2"), code=2, variables={name: "0"})


def benches() -> Iterator[Case]:
    """Files of earlier figures."""
    row = {"group": "g", "case": "c", "step": "arch", "images": 1, "threads": 1, "seconds": [1.0],
           "ratio": 1.0, "full_seconds": None, "counts": None}  # fmt: skip
    whole = {"format": 1, "command": ["nas"], "machine": {}, "rows": [row]}
    for content in NO_JSON.values():
        yield Case(words("bench --preset quick --compare x"), {"x": content})
    for key, value in (("format", 9), ("format", ...), ("rows", 3), ("rows.0.seconds", []),
                       ("rows.0.seconds", ["x"]), ("rows.0.step", "x"), ("rows.0.case", ...),
                       ("rows.0.counts", 3), ("machine", []), ("command", 3)):  # fmt: skip
        yield Case(words("bench --compare x"), {"x": dump(changed(whole, key, value))})


def configurations() -> Iterator[Case]:
    """YAML files and texts; the verbs of Lightning read them."""
    for content in NO_YAML.values():
        yield Case(words("fit --config bad.yaml"), {"bad.yaml": content}, 2)
    for line in (*BEFORE, "test --config", "predict --config", "fit --print_plan --config"):
        for name in ("self", "twice", "folder"):
            yield Case(words(line, "bad.yaml"), {"bad.yaml": NO_YAML[name]}, 2)
    for text in TEXTS:
        yield Case(words("fit --config search --config", text), code=2)


def fits() -> Iterator[Case]:
    """Command lines of `nas fit` and `nas test`."""
    for option, *texts in (
        ("--run_dir", "", "a\nb", "~nobody_of_this_name/x", "\udcff"),
        ("--ckpt_path", ""),
        ("--config", "", ".", "\0", "~nobody_of_this_name/a.yaml", "no.yaml"),
        ("--model", "", "3", "{}", "../x"),
        ("--data", "", "[]", "../x"),
        ("--trainer.max_epochs", "9" * 5000, "x", "{a: 1}"),
        ("--trainer.devices", "x"),
        ("--model.strategies", "[" * 1200, "3"),
        ("--seed_everything", "x"),
        ("--optimizer", "x"),
        ("--trainer.1", "2"),
    ):
        for text in texts:
            yield Case(words("fit --config search", option, text), code=2)
    line = "fit --config retrain --run_dir new --model.genotype"
    for text in ("", "x\0y", "Genotype(normal=3)", "runs", "3", "no.json"):
        code = 1 if text.startswith("Genotype") else 2
        yield Case(words(line, text), code=code)
    for text in ("runs", "genotype.json", "search.yaml", "no.ckpt"):
        yield Case(words("fit --config search --ckpt_path", text))
        yield Case(words("test --config search --ckpt_path", text))
    yield Case(words(f"{line} runs/search/checkpoints/last.ckpt"))
