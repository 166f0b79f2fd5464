# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a topology on its hosts, and what that means: live state to phase and cause.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

#: From nothing to the end; a topology spread over hosts is as far as the *worst* of them.
PHASES = ("absent", "succeeded", "running", "stopping", "stopped", "lost", "failed")


@dataclass(frozen=True)
class HostState:
    """A topology as one host sees it; plain JSON values, so that it can travel between hosts.

    Attributes:
        host: the inventory name it was read on.
        name: the topology's name.
        phase: one of :data:`PHASES`.
        run_id: the newest run there, or ``None``.
        spec: that run's complete topology, or ``None``.
        created: when that run was decided (seconds since the epoch).
        resumed_from: ``{run_id, global_step}`` the run continued, or ``None``.
        cause: ``{reason, task, message}`` of a run that did not end well, or ``None``.
        tasks: the supervisor's records of this host's tasks.
        checkpoint_run_id: the run whose checkpoint lies on this host and can be continued, or ``None``.
        candidate_run_id: a fresh name and moment that the hosts may agree on.
        candidate_created: that moment.
        problems: ``{field, value, accepted}`` of what keeps the wanted tasks from starting on this host.
        busy_cores: how many cores were at work before anything was started; ``None`` where nobody has looked.
    """

    host: str
    name: str
    phase: str = "absent"
    run_id: str | None = None
    spec: Mapping[str, object] | None = None
    created: float | None = None
    resumed_from: Mapping[str, object] | None = None
    cause: Mapping[str, object] | None = None
    tasks: Sequence[Mapping[str, object]] = ()
    checkpoint_run_id: str | None = None
    candidate_run_id: str = ""
    candidate_created: float = 0.0
    problems: Sequence[Mapping[str, object]] = ()
    busy_cores: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> HostState:
        """Read what :meth:`as_dict` wrote; keys this version does not know are left out."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})  # type: ignore[arg-type]


def host_phase(status: Mapping[str, object] | None, supervisor_alive: bool) -> str:
    """Return the phase of a run on one host.

    Args:
        status: the supervisor's ``status.json``, or ``None`` when it has not written one.
        supervisor_alive: whether the process that should have written it lives.
    """
    if status is not None and status["finished"]:
        return str(status["state"])
    if not supervisor_alive:
        return "lost"
    return "running" if status is None else str(status["state"])


def overall_phase(states: Sequence[HostState]) -> str:
    """Return the phase of a topology over all its hosts: the worst one, and ``lost`` where only some know its run."""
    phases = {state.phase for state in states}
    if phases == {"absent"} or not phases:
        return "absent"
    if "failed" in phases:
        return "failed"
    if "absent" in phases or len({state.run_id for state in states}) > 1:
        return "lost"
    if phases <= {"succeeded", "running"}:
        return "running" if "running" in phases else "succeeded"
    return max(phases, key=PHASES.index)


def overall_cause(states: Sequence[HostState]) -> Mapping[str, object] | None:
    """Return the cause to tell first: a failed task's before a stop that followed from it."""
    causes = [state for state in states if state.cause is not None]
    causes.sort(key=lambda state: state.phase != "failed")
    if causes:
        return causes[0].cause
    for state in states:
        if state.phase == "lost":
            return {"reason": "supervisor_lost", "task": None, "message": f"the supervisor on {state.host} is gone"}
    return None


def tasks_up(tasks: Sequence[Mapping[str, object]]) -> int:
    """Return how many of the tasks run at the moment."""
    return sum(1 for task in tasks if task["state"] == "running")
