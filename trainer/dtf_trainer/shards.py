"""Which examples a worker sees, and in which order.

The examples of an epoch are one permutation, drawn from ``(seed, epoch)``; worker ``w`` of ``W`` takes every ``W``-th
of them from the ``w``-th on. So the shards of an epoch are disjoint, together they are the whole set, and any task can
compute its own without asking another. A worker's *stream* is its shards of epoch 0, 1, 2, … one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def epoch_indices(seed: int, epoch: int, examples: int, worker: int, workers: int) -> NDArray[np.int32]:
    """Return the indices, ``[n]`` within ``0 … examples-1``, that ``worker`` of ``workers`` sees in ``epoch``."""
    # RandomState's stream is frozen for ever, that of default_rng may change with a NumPy release: a run that is
    # resumed under another NumPy goes on with the same order.
    order = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch]))).permutation(examples)
    return order[worker::workers].astype(np.int32)


def batches(
    seed: int, examples: int, worker: int, workers: int, batch_size: int, start: int = 0
) -> Iterator[NDArray[np.int32]]:
    """Yield ``worker``'s stream in pieces of ``[batch_size]``, for ever, from its ``start``-th piece on.

    A piece may cross the end of an epoch (of several, if it is larger than the shard): no example is skipped or seen
    twice in an epoch. ``start`` is the number of local steps already made, so a restarted worker goes on where it was.
    Raises ``ValueError`` if the shard is empty (more workers than examples) or ``batch_size`` is below 1, at the call.
    """
    shard = len(range(worker, examples, workers))
    if shard == 0:
        raise ValueError(f"worker {worker} of {workers} has no example: there are only {examples}")
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} is below 1")
    return _stream(seed, examples, worker, workers, batch_size, *divmod(start * batch_size, shard))


def _stream(
    seed: int, examples: int, worker: int, workers: int, batch_size: int, epoch: int, offset: int
) -> Iterator[NDArray[np.int32]]:
    rest = epoch_indices(seed, epoch, examples, worker, workers)[offset:]
    while True:
        while len(rest) < batch_size:
            epoch += 1
            rest = np.concatenate([rest, epoch_indices(seed, epoch, examples, worker, workers)])
        for first in range(0, len(rest) - batch_size + 1, batch_size):
            yield rest[first : first + batch_size]
        rest = rest[len(rest) - len(rest) % batch_size :]
