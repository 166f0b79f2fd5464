"""Adam as operations on variables, the same on a parameter server and on a worker.

The powers of the betas are computed from a counter, ``step`` (``float32``, 1 before the first update), which several
workers can add to at once without losing an update; they are what TensorFlow's own optimizer multiplies up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .distributed import slot_names
from .model import BETA1, BETA2, EPSILON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tf_api import Api, Graph, Tensor


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Learning rate, betas and count of an update, ``float32 []`` each, on one device.

    ``feed`` takes ``live`` or, so that an update runs and changes nothing, :data:`FROZEN`: a graph is compiled before
    its first step counts. It is always fed, because what is fed and what not makes another graph.
    """

    feed: Tensor
    live: tuple[float, float, float, float]
    learning_rate: Tensor
    beta1: Tensor
    beta2: Tensor
    count: Tensor


FROZEN = (0.0, 1.0, 1.0, 0.0)
"""The value of ``Rates.feed`` that makes an update leave every variable as it is."""


def rates(api: Api, graph: Graph, learning_rate: float, device: str) -> Rates:
    """Return the rates on ``device``."""
    raw = api.raw
    with graph.device(device):
        feed = raw.Placeholder(dtype=api.float32, shape=(4,))
        numbers = raw.Unpack(value=feed, num=4, axis=0)
    return Rates(
        feed=feed,
        live=(learning_rate, BETA1, BETA2, 1.0),
        learning_rate=numbers[0],
        beta1=numbers[1],
        beta2=numbers[2],
        count=numbers[3],
    )


@dataclass(frozen=True, kw_only=True)
class Slots:
    """The variables of some parameters on one device: handles of each parameter and its slots, and of the counter."""

    device: str
    handles: Mapping[str, Tensor]
    step: Tensor


def apply(api: Api, graph: Graph, slots: Slots, by: Rates, gradients: Mapping[str, Tensor]) -> list[Tensor]:
    """Update the parameters named in ``gradients``; return the operations after which all of it is done."""
    raw = api.raw
    # The counter is read when the gradients are there: in a chain of updates, that is after the one before.
    with graph.device(slots.device), graph.control_dependencies(list(gradients.values())):
        step = raw.ReadVariableOp(resource=slots.step, dtype=api.float32)
        powers = raw.Unpack(value=raw.Pow(x=api.constant([BETA1, BETA2], api.float32), y=step), num=2, axis=0)
        updates = [apply_one(api, slots, by, powers, name, gradient) for name, gradient in gradients.items()]
        with graph.control_dependencies(updates):
            return [raw.AssignAddVariableOp(resource=slots.step, value=by.count)]


def apply_one(api: Api, slots: Slots, by: Rates, powers: list[Tensor], name: str, gradient: Tensor) -> Tensor:
    """Return the operation that updates the parameter ``name`` and its slots, on the device that is current."""
    mean, variance = slot_names(name)
    return api.raw.ResourceApplyAdam(
        var=slots.handles[name],
        m=slots.handles[mean],
        v=slots.handles[variance],
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=by.learning_rate,
        beta1=by.beta1,
        beta2=by.beta2,
        epsilon=api.constant(EPSILON, api.float32),
        grad=gradient,
        # Two workers may be here at once; without the lock the variable's buffer itself could be torn.
        use_locking=True,
    )
