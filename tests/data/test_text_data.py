"""Text: files to words, words to columns, columns to sequences, and exact resume."""

import itertools
import os
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_lightning.data import SyntheticText, TextData
from nas_lightning.data.spans import columns_of, drawn_spans, equal_spans
from nas_lightning.errors import DataError, UsageError

Mode = Literal["search", "retrain"]
Batch = tuple[Tensor, Tensor]


# -- sequences ---------------------------------------------------------------------------------


@settings(deadline=None)  # the first call is slow
@given(
    st.integers(1, 3000),
    st.integers(1, 50),
    st.floats(0, 20),
    st.floats(0, 1),
    st.integers(0, 30),
)
def test_drawn_sequences_cut_all_rows(
    rows: int, bptt: int, jitter: float, half: float, extra: int
) -> None:
    epochs = [drawn_spans(rows, bptt, jitter, half, extra, seed) for seed in range(3)]
    for spans in epochs:
        assert spans[0][0] == 0
        assert spans[-1][1] == rows
        assert all(a < b for a, b in spans)
        assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
    assert len({len(spans) for spans in epochs}) == 1  # epochs are of one length
    assert epochs[1] == drawn_spans(rows, bptt, jitter, half, extra, 1)


def test_lengths_are_distributed_as_published() -> None:
    # 35 ± 5 words, one in twenty 17.5 ± 5; the tail below 5 and above 55 is negligible
    spans = drawn_spans(1_000_000, 35, 5.0, 0.05, 20, seed=0)
    lengths = torch.tensor([float(b - a) for a, b in spans])
    assert len(spans) == round(1_000_000 / (0.95 * 35 + 0.05 * 17.5))
    # rounded to 26 or less: 0.95 P(z < -1.7) + 0.05 P(z < 1.8)
    below = 0.95 * 0.04457 + 0.05 * 0.96407
    assert float((lengths <= 26).double().mean()) == pytest.approx(below, abs=0.004)
    # of the mixture: 25 + 0.95 · 0.05 · 17.5², rounding adds 1/12
    assert lengths.var().item() == pytest.approx(25 + 14.547 + 1 / 12, rel=0.03)
    assert lengths.min() >= 4
    assert lengths.max() <= 56


def test_other_seeds_and_epochs_draw_other_lengths() -> None:
    def spans(seed: int, epoch: int) -> Any:
        data = SyntheticText(mode="retrain", batch_size=4, bptt_jitter=5.0, seed=seed)
        loader: Any = data.train_dataloader()
        return tuple(loader.sampler.spans(epoch))

    assert len({spans(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9
    assert spans(1, 2) == spans(1, 2)


def test_equal_sequences() -> None:
    assert equal_spans(7, 3) == [(0, 3), (3, 6), (6, 7)]
    assert equal_spans(6, 3) == [(0, 3), (3, 6)]


def test_columns_are_contiguous_and_dealt_out() -> None:
    tokens = torch.arange(23)
    whole = columns_of(tokens, 4, 0, 4)
    assert whole.tolist() == [[row + 5 * column for column in range(4)] for row in range(5)]
    halves = [columns_of(tokens, 4, 2 * rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat(halves, dim=1), whole)


# -- batches -----------------------------------------------------------------------------------


def check_stream(batches: list[Batch], text: Tensor) -> None:
    """The words follow one another down each column, as in the text; so do those to be said."""
    words, following = (torch.cat([batch[i] for batch in batches]) for i in range(2))
    rows = len(text) // words.shape[1]
    for column in range(words.shape[1]):
        part = text[column * rows : (column + 1) * rows]
        assert torch.equal(words[:, column], part[:-1])
        assert torch.equal(following[:, column], part[1:])


@pytest.mark.parametrize("jitter", [0.0, 3.0])
def test_an_epoch_of_a_retraining_reads_the_text_once(jitter: float) -> None:
    data = SyntheticText(mode="retrain", batch_size=6, bptt=20, bptt_jitter=jitter)
    data.setup("fit")
    loader: Any = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader)
    assert len({len(words) for words, _ in batches}) > 1
    check_stream(batches, data.corpus.train)
    check_stream(list(data.val_dataloader()), data.corpus.valid)
    check_stream(list(data.test_dataloader()), data.corpus.test)
    assert [batch[0].shape for batch in data.val_dataloader()] == [(20, 10)] * 5 + [(1, 10)]
    assert next(iter(data.test_dataloader()))[0].shape == (20, 1)


def test_a_search_reads_the_validation_text_again_and_again() -> None:
    data = SyntheticText(
        batch_size=8, arch_batch_size=4, bptt=20, train_size=4000, valid_size=404, seed=0
    )
    data.setup("fit")
    loader: Any = data.train_dataloader()
    batches = [batch for batch, _, _ in loader]
    check_stream([batch["train"] for batch in batches], data.corpus.train)
    # 101 rows: five sequences of 20, again and again
    arch = [batch["val"] for batch in batches]
    assert len(arch) == 26  # 499 rows of the training text, 34.125 · 20 / 35 words each
    for start in range(0, 25, 5):
        check_stream(arch[start : start + 5], data.corpus.valid)
    assert torch.equal(arch[25][0], arch[0][0])


def test_without_draws_sequences_are_equal() -> None:
    data = SyntheticText(mode="retrain", batch_size=4, bptt=25, half_probability=0.0)
    loader: Any = data.train_dataloader()
    assert [len(words) for words, _ in loader] == [25] * 40 + [23]


@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_processes_share_the_columns(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(size: int, rank: int, world: int) -> list[Any]:
        data = SyntheticText(mode=mode, batch_size=size, eval_batch_size=size, bptt_jitter=3.0)
        monkeypatch.setattr(data, "_world", lambda: (rank, world))
        if mode == "retrain":
            return [*data.train_dataloader(), *data.val_dataloader()]
        loader: Any = data.train_dataloader()
        return [batch for half in ("train", "val") for batch in loader.iterables[half]]

    whole, one, two = batches(6, 0, 1), batches(3, 0, 2), batches(3, 1, 2)
    assert len(whole) == len(one) == len(two)
    for expected, left, right in zip(whole, one, two, strict=True):
        for i in range(2):
            assert torch.equal(torch.cat([left[i], right[i]], dim=1), expected[i])


def test_loaders_leave_the_global_random_state_alone() -> None:
    data = SyntheticText(mode="retrain")
    before = torch.get_rng_state()
    list(data.train_dataloader())
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


# -- made-up text ------------------------------------------------------------------------------


def test_the_best_perplexity_is_that_of_the_counts() -> None:
    data = SyntheticText(num_tokens=5, train_size=2_000_000, noise=0.3)
    text = data.corpus.train
    pairs = torch.bincount(5 * text[:-1] + text[1:], minlength=25).view(5, 5).double()
    given = pairs / pairs.sum(dim=1, keepdim=True)
    entropy = -(pairs * given.log()).sum() / pairs.sum()
    assert data.best_perplexity == pytest.approx(float(entropy.exp()), rel=3e-3)
    assert data.data_spec == {"num_tokens": 5}
    assert [len(part) for part in data.corpus[:3]] == [2_000_000, 1024, 1024]


# -- files -------------------------------------------------------------------------------------


def write(folder: Path, layout: str, **texts: str) -> None:
    for part in ("train", "valid", "test"):
        text = texts.get(part, "a b\n")
        (folder / layout.format(part)).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("layout", ["ptb.{}.txt", "wiki.{}.tokens", "{}.txt"])
def test_files_of_each_layout(layout: str, tmp_path: Path) -> None:
    write(tmp_path, layout, train="the cat \n\n sat  é", valid="the dog\n", test="a cat\n")
    corpus = TextData(root=str(tmp_path)).corpus
    # the 0, cat 1, <eos> 2, sat 3, é 4, dog 5, a 6
    assert corpus.train.tolist() == [0, 1, 2, 2, 3, 4, 2]
    assert corpus.valid.tolist() == [0, 5, 2]
    assert corpus.test.tolist() == [6, 1, 2]
    assert corpus.num_tokens == 7
    assert TextData(root=str(tmp_path)).data_spec == {"num_tokens": 7}


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No text was found in .*--data.root .*ptb\.train\.txt"):
        _ = TextData(root=str(tmp_path)).data_spec
    write(tmp_path, "wiki.{}.tokens")
    (tmp_path / "wiki.valid.tokens").unlink()
    with pytest.raises(DataError, match=r"lacks wiki\.valid\.tokens: add it\."):
        TextData(root=str(tmp_path)).setup("fit")
    (tmp_path / "wiki.valid.tokens").write_text("")
    with pytest.raises(DataError, match=r"wiki\.valid\.tokens' is empty"):
        TextData(root=str(tmp_path)).setup("fit")
    (tmp_path / "wiki.valid.tokens").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"wiki\.valid\.tokens' cannot be read as UTF-8"):
        TextData(root=str(tmp_path)).setup("fit")


def test_a_text_too_short_for_its_columns(tmp_path: Path) -> None:
    write(tmp_path, "{}.txt", train="a b c\n" * 40)
    data = TextData(root=str(tmp_path), batch_size=4, mode="retrain", test_batch_size=2)
    data.setup()
    assert len(list(data.train_dataloader())) == 1
    with pytest.raises(DataError, match=r"valid text has 3 words.*lower eval_batch_size"):
        data.val_dataloader()
    with pytest.raises(DataError, match=r"test text has 3 words.*lower test_batch_size"):
        data.test_dataloader()


@pytest.mark.realdata
def test_wikitext_2() -> None:
    folder = Path(os.environ.get("NAS_TEST_DATA", "")) / "wikitext-2"
    if "NAS_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("needs wikitext-2 in the folder that NAS_TEST_DATA names")
    corpus = TextData(root=str(folder)).corpus
    # as published by its authors, with an end-of-sentence word in each line
    assert [len(part) for part in corpus[:3]] == [2_088_628, 217_646, 245_569]
    assert corpus.num_tokens == 33_278
    assert max(int(part.max()) for part in corpus[:3]) == 33_277
    assert len(set(corpus.train.tolist())) == 33_278  # rare words are <unk> already


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"mode": "both"}, "mode is 'both'"),
        ({"batch_size": 0}, "batch_size must be .* found 0"),
        ({"arch_batch_size": 0}, "arch_batch_size must be .* found 0"),
        ({"bptt": 0}, "bptt must be .* found 0"),
        ({"bptt_jitter": -1.0}, "bptt_jitter must be .* found -1.0"),
        ({"half_probability": 1.5}, "half_probability must be .* found 1.5"),
        ({"max_extra": -1}, "max_extra must be .* found -1"),
        ({"noise": 2.0}, "noise must be .* found 2.0"),
        ({"num_tokens": 0}, "num_tokens must be .* found 0"),
    ],
)
def test_arguments_out_of_range(kwargs: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        SyntheticText(**kwargs)


def test_there_is_nothing_to_predict() -> None:
    with pytest.raises(UsageError, match="writes no predictions"):
        SyntheticText().predict_dataloader()
