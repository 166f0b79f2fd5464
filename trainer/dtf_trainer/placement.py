"""Which parameter server holds which variable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def by_size(shapes: Mapping[str, tuple[int, ...]], servers: int) -> dict[str, int]:
    """Return the server, ``0 … servers-1``, of each name: the largest first, each to the server with least so far.

    Of servers with the same load the lowest is taken, so every task comes to the same result on its own. Round robin,
    TensorFlow's default, would put both weight matrices of this model on the same one of two servers.
    """
    loads = [0] * servers
    chosen = {}
    for name in sorted(shapes, key=lambda name: (-math.prod(shapes[name]), name)):
        server = loads.index(min(loads))
        loads[server] += math.prod(shapes[name])
        chosen[name] = server
    return {name: chosen[name] for name in shapes}


def round_robin(shapes: Mapping[str, tuple[int, ...]], servers: int) -> dict[str, int]:
    """Return the server of each name in turn, in the order of ``shapes``: TensorFlow's default, and the thesis's."""
    return {name: number % servers for number, name in enumerate(shapes)}
