# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Desired against live: what a change of a topology will do, and why.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .errors import ActionFailed
from .hosts import tasks
from .spec import Topology
from .status import HostState, overall_cause, overall_phase

#: A checkpoint fits a changed topology as long as these stay: the first two give the variables their shape and
#: meaning, a new label asks for a fresh start.
FIELDS_OF_A_CHECKPOINT = ("training.hidden_units", "training.dataset", "run_label")
#: Where pods keep it: another volume has another checkpoint, or none.
PLACE_OF_A_CHECKPOINT = "kubernetes.volumes.checkpoints"


@dataclass(frozen=True)
class Difference:
    """One field of the spec that changes."""

    field: str
    before: object
    after: object


@dataclass(frozen=True)
class Plan:
    """What will be done to a topology.

    Attributes:
        action: ``none``, ``start``, ``resume`` (nothing runs, a checkpoint is continued), ``reroll`` (stop what runs
            with a checkpoint, then start with new host lists), ``update`` (lifecycle only), ``stop`` or ``remove``.
        reason: why, in words.
        differences: the fields of the spec that change.
        resume_run_id: the run whose checkpoint the new run continues, or ``None``.
        start: names of the tasks that will start, over all hosts.
        stop: names of the tasks that run now and will stop, over all hosts.
    """

    action: str
    reason: str
    differences: tuple[Difference, ...] = ()
    resume_run_id: str | None = None
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything will be done at all."""
        return self.action != "none"

    @property
    def starts(self) -> bool:
        """Whether a new run begins."""
        return self.action in ("start", "resume", "reroll")

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def differences(before: Mapping[str, object], after: Mapping[str, object], prefix: str = "") -> list[Difference]:
    """Return the leaves in which two nested documents differ, in the order of the second."""
    found = []
    for name in list(after) + [name for name in before if name not in after]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found.extend(differences(old, new, prefix + name + "."))
        elif old != new:
            found.append(Difference(prefix + name, old, new))
    return found


def plan_present(desired: Topology, states: Sequence[HostState]) -> Plan:
    """Decide how the live topology becomes the desired one.

    Args:
        desired: what is wanted.
        states: what each host of ``desired`` sees.

    Raises:
        ActionFailed: the name belongs to another owner, or the chief would move away from its checkpoint.
    """
    phase = overall_phase(states)
    wanted = tuple(task.name for task in tasks(desired))
    live = next((state for state in states if state.spec is not None), None)
    if live is None or live.spec is None:
        return Plan("start", "the topology does not exist yet", start=wanted)
    before = Topology.from_params(live.spec)
    _refuse_foreign_claim(desired, before, live)
    changes = differences(before.defining(), desired.defining())
    running = _running(states)
    if not changes and phase in ("running", "succeeded"):
        tuned = differences(before.as_dict(), desired.as_dict())
        if tuned:
            return Plan("update", "only the lifecycle changes", differences=tuple(tuned))
        return Plan("none", f"it is as wanted: {phase}")
    _refuse_lost_chief(desired, before)
    lasting = not any(
        change.field in FIELDS_OF_A_CHECKPOINT or change.field.startswith(PLACE_OF_A_CHECKPOINT) for change in changes
    )
    # A process that runs writes a checkpoint when it is stopped; else there is the one on the chief's host, if any.
    # A pod's goes with it, unless a volume keeps it.
    checkpoint = live.run_id if running and desired.kubernetes is None else states[0].checkpoint_run_id
    resume_run_id = checkpoint if lasting else None
    if changes:
        reason = "changed: " + ", ".join(change.field for change in changes)
        if not lasting:
            reason += "; the checkpoint does not fit, training begins anew"
        elif running and resume_run_id is None:
            reason += "; no volume keeps the checkpoint, training begins anew"
    else:
        cause = overall_cause(states)
        reason = f"the last run {phase}" + (": {}".format(cause["message"]) if cause else "")
    action = "reroll" if running else ("resume" if resume_run_id else "start")
    return Plan(action, reason, tuple(changes), resume_run_id, start=wanted, stop=running)


def plan_stopped(states: Sequence[HostState]) -> Plan:
    """Decide how the topology comes to rest, with its checkpoint and logs kept."""
    running = _running(states)
    if not running and overall_phase(states) not in ("running", "stopping"):
        return Plan("none", "nothing of it runs")
    return Plan("stop", "it is to rest", stop=running)


def plan_absent(states: Sequence[HostState]) -> Plan:
    """Decide how the topology disappears, with all it keeps on the hosts."""
    if overall_phase(states) == "absent":
        return Plan("none", "the topology does not exist")
    return Plan("remove", "it is to be gone", stop=_running(states))


def _running(states: Sequence[HostState]) -> tuple[str, ...]:
    return tuple(
        "{}-{}".format(task["role"], task["index"])
        for state in states
        for task in state.tasks
        if state.phase in ("running", "stopping") and task["state"] in ("running", "backoff", "waiting")
    )


def _refuse_foreign_claim(desired: Topology, before: Topology, live: HostState) -> None:
    if before.owner != desired.owner:
        raise ActionFailed(
            "name_claimed",
            f"topology {desired.name!r} is claimed by {before.owner!r} (run {live.run_id} on {live.host}, {live.phase}"
            f") and cannot be changed by {desired.owner!r}: choose another name, or remove that one first",
            owner=before.owner,
        )


def _refuse_lost_chief(desired: Topology, before: Topology) -> None:
    if desired.kubernetes is not None or before.kubernetes is not None:
        # The scheduler chooses where the chief runs, and its volume goes with it.
        return
    if before.hosts[0].name != desired.hosts[0].name and before.run_label == desired.run_label:
        raise ActionFailed(
            "chief_moves",
            "topology {0!r}: the chief and its checkpoint are on {1}, the wanted first host is {2}: keep {1} first in "
            "hosts, or give a new run_label to begin anew".format(
                desired.name, before.hosts[0].name, desired.hosts[0].name
            ),
        )
