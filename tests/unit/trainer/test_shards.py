"""Shards: disjoint, complete, deterministic, resumable."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from dtf_trainer.shards import batches, epoch_indices  # noqa: E402  (needs NumPy)

SEEDS = st.integers(0, 2**40)
EPOCHS = st.integers(0, 1000)
WORKERS = st.integers(1, 12)
EXAMPLES = st.integers(12, 400)
"""At least as many as workers."""


@settings(deadline=None)
@given(seed=SEEDS, epoch=EPOCHS, examples=EXAMPLES, workers=WORKERS)
def test_the_shards_of_an_epoch_are_disjoint_and_complete(seed: int, epoch: int, examples: int, workers: int) -> None:
    shards = [epoch_indices(seed, epoch, examples, worker, workers) for worker in range(workers)]
    assert sorted(np.concatenate(shards).tolist()) == list(range(examples))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert all(shard.dtype == np.int32 for shard in shards)


@settings(deadline=None)
@given(seed=SEEDS, epoch=EPOCHS, examples=EXAMPLES)
def test_another_epoch_or_seed_is_another_order(seed: int, epoch: int, examples: int) -> None:
    order = epoch_indices(seed, epoch, examples, 0, 1).tolist()
    assert order == epoch_indices(seed, epoch, examples, 0, 1).tolist()
    assert order != epoch_indices(seed, epoch + 1, examples, 0, 1).tolist()
    assert order != epoch_indices(seed + 1, epoch, examples, 0, 1).tolist()


def test_the_order_is_fixed_for_ever() -> None:
    """A checkpoint may be resumed years later: these literals never change."""
    assert epoch_indices(0, 0, 10, 0, 1).tolist() == [6, 1, 0, 5, 3, 8, 7, 9, 2, 4]
    assert epoch_indices(1, 2, 10, 1, 3).tolist() == [6, 3, 0]


@settings(deadline=None)
@given(
    seed=SEEDS,
    examples=EXAMPLES,
    workers=WORKERS,
    batch_size=st.integers(1, 97),
    epochs=st.integers(1, 4),
    data=st.data(),
)
def test_the_stream_is_every_epoch_without_a_gap(
    seed: int, examples: int, workers: int, batch_size: int, epochs: int, data: st.DataObject
) -> None:
    worker = data.draw(st.integers(0, workers - 1))
    whole = np.concatenate([epoch_indices(seed, epoch, examples, worker, workers) for epoch in range(epochs)])
    count = -(-len(whole) // batch_size)
    pieces = list(islice(batches(seed, examples, worker, workers, batch_size), count))
    assert all(piece.shape == (batch_size,) and piece.dtype == np.int32 for piece in pieces)
    assert np.concatenate(pieces)[: len(whole)].tolist() == whole.tolist()


@settings(deadline=None)
@given(
    seed=SEEDS,
    examples=EXAMPLES,
    workers=WORKERS,
    batch_size=st.integers(1, 97),
    start=st.integers(0, 200),
    data=st.data(),
)
def test_a_restarted_worker_goes_on_where_it_was(
    seed: int, examples: int, workers: int, batch_size: int, start: int, data: st.DataObject
) -> None:
    worker = data.draw(st.integers(0, workers - 1))
    unbroken = islice(batches(seed, examples, worker, workers, batch_size), start, start + 5)
    resumed = islice(batches(seed, examples, worker, workers, batch_size, start), 5)
    assert [piece.tolist() for piece in unbroken] == [piece.tolist() for piece in resumed]


def test_a_worker_without_examples_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="worker 3 of 4 has no example: there are only 3"):
        batches(0, 3, 3, 4, 20)


def test_a_batch_of_nothing_is_refused_at_the_call() -> None:
    with pytest.raises(ValueError, match="batch_size 0 is below 1"):
        batches(0, 3, 0, 1, 0)
