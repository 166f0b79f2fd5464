"""Which ps holds which variable."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dtf_trainer.model import HIDDEN_WEIGHTS, SOFTMAX_WEIGHTS, parameter_shapes
from dtf_trainer.placement import by_size, round_robin

SHAPES = st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 50), max_size=3).map(tuple), min_size=1)


def test_the_two_weight_matrices_are_apart_by_size_and_together_in_turn() -> None:
    shapes = parameter_shapes(100)
    assert by_size(shapes, 2) == {
        "hidden_weights": 0,
        "hidden_biases": 1,
        "softmax_weights": 1,
        "softmax_biases": 1,
    }
    turns = round_robin(shapes, 2)
    assert turns[HIDDEN_WEIGHTS] == turns[SOFTMAX_WEIGHTS]


@given(SHAPES, st.integers(1, 8))
def test_by_size_is_complete_fair_and_the_same_for_every_task(shapes: dict[str, tuple[int, ...]], servers: int) -> None:
    placed = by_size(shapes, servers)
    assert list(placed) == list(shapes)
    assert by_size(dict(reversed(shapes.items())), servers) == placed
    loads = [0] * servers
    for name, server in placed.items():
        loads[server] += math.prod(shapes[name])
    # The greedy choice: whoever has most would have less than anyone else without its last, smallest one.
    most = loads.index(max(loads))
    smallest = min(math.prod(shapes[name]) for name, server in placed.items() if server == most)
    assert max(loads) - smallest <= min(loads)
