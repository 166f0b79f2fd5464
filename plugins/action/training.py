# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``training``: waits on the controller, shows progress, writes the run document.

One of these runs for every host of the topology, all at once. Each watches its own host through its own connection;
what the others must know of it goes through files in the run's results directory (:mod:`run_results`). The action of
the chief's host assembles the document.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version

from ..module_utils.arguments import IDENTITY_ARGS, PLACE_ARGS, WAIT_ARGS
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.hosts import tasks
from ..module_utils.kube_state import HOST, observed
from ..module_utils.kube_topology import observe
from ..module_utils.kubernetes_client import Cluster
from ..module_utils.progress import progress_line
from ..module_utils.run_document import HostPart, run_document
from ..module_utils.spec import Topology
from ..module_utils.spec_kubernetes import namespace_of
from ..module_utils.status import HostState
from ..module_utils.waiter import wait
from ..plugin_utils.collection_version import collection_version
from ..plugin_utils.kube_run import KubeRun, Moment
from ..plugin_utils.progress_display import ProgressDisplay, controller_has_terminal
from ..plugin_utils.run_results import RunResults
from ..plugin_utils.run_watch import Look, RunWatch

#: JSON as it comes from a module or a file.
Document = dict[str, Any]
#: A supervisor writes its status every second; one that has been silent for so long is looked for.
SILENCE_SECONDS = 5.0
#: A host that does not answer for so long is given up.
UNREACHABLE_SECONDS = 30.0
#: Between a host's end and the moment its part must have come together with the others'.
GATHER_SECONDS = 60.0


class Interrupted(BaseException):
    """The user has interrupted the playbook; not an ``Exception``, so that nothing on the way swallows it."""


@dataclass(frozen=True)
class Sight:
    """What a look told of the whole wait: this host's status, and why waiting is over if it is."""

    look: Look
    over: str | None = None


class ActionModule(ActionBase):
    """Waits for the run of a topology on one host."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Document | None = None) -> Document:
        """Wait, gather, return ``{changed, run, path, topology, duration}``."""
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        arguments = {**CONNECTION_ARGS, **IDENTITY_ARGS, **PLACE_ARGS, **WAIT_ARGS}
        _validation, self._options = self.validate_argument_spec(arguments)
        begin = time.monotonic()
        if self._options["runtime"] == "kubernetes":
            return self._in_cluster(begin)
        self._options = {name: self._options[name] for name in (*IDENTITY_ARGS, *WAIT_ARGS)}
        found = self._call("look")
        state = HostState.from_dict(found["topology"])
        if state.run_id is None or state.spec is None:
            if self._task.check_mode:
                return self._answer(None, None, state, begin, changed=False)
            raise AnsibleActionFail(f"topology {state.name!r} does not exist on {state.host}: apply it first")
        results = RunResults(self._options["results_dir"], state.run_id)
        document = results.document()
        if document is not None or self._task.check_mode:
            return self._answer(document, results, state, begin, changed=False)
        topology = Topology.from_params(state.spec)
        self._refuse_impossible(topology)
        document, state = self._wait_and_gather(topology, state, str(found["run_dir"]), results)
        return self._answer(document, results, state, begin, changed=True)

    def _in_cluster(self, begin: float) -> Document:
        """Wait for a run of pods, from the controller; the host that the play is on is not asked."""
        try:
            return self._wait_in_cluster(Cluster(connection(self._options)), begin)
        except (ActionFailed, InvalidInput) as error:
            if (
                self._task.check_mode
                and isinstance(error, ActionFailed)
                and error.code in ("kubeconfig", "unreachable")
            ):
                # There may be no cluster yet; the module topology has said so.
                unmade = HostState(host=HOST, name=self._options["name"])
                return self._answer(None, None, unmade, begin, changed=False)
            raise AnsibleActionFail(str(error), result={"failure": error.as_failure()}) from error

    def _wait_in_cluster(self, cluster: Cluster, begin: float) -> Document:
        name, namespace = self._options["name"], namespace_of(self._options["kubernetes"])
        state = observed(observe(cluster, name, namespace))
        if state.run_id is None or state.spec is None:
            if self._task.check_mode:
                return self._answer(None, None, state, begin, changed=False)
            raise AnsibleActionFail(f"topology {name!r} does not exist in namespace {namespace}: apply it first")
        results = RunResults(self._options["results_dir"], state.run_id)
        document = results.document()
        if document is not None or self._task.check_mode:
            return self._answer(document, results, state, begin, changed=False)
        topology = Topology.from_params(state.spec)
        run = KubeRun(cluster, topology, state.run_id)
        try:
            with _interruptible():
                moment, elapsed, over = run.wait(
                    self._pod_progress(topology, run), self._options["wait_timeout"] or None
                )
                if not over:
                    last_seen = _pod_line(topology, run, moment)
                    raise AnsibleActionFail(self._still_running(topology, elapsed, last_seen))
                versions = {"ansible": ansible_version, "collection": collection_version()}
                document = run.gather(moment, results, versions, self._options["benchmark"])
                run.conclude(moment)
        except Interrupted:
            self._display.display(
                f"{name}: no longer waited for; the training goes on. Run the playbook again to wait for it, or stop "
                "it with topology_paused=true"
            )
            os._exit(1)
        finally:
            run.close()
        return self._answer(document, results, moment.state, begin, changed=True)

    def _pod_progress(self, topology: Topology, run: KubeRun) -> Callable[[Moment], None]:
        display = ProgressDisplay(
            self._options["progress"],
            self._display.display,
            time.monotonic,
            controller_has_terminal(),
            (self._options["label"] or topology.name) + ": ",
        )

        def show(moment: Moment) -> None:
            display.update(_pod_line(topology, run, moment))
            if moment.over:
                display.close()

        return show

    def _still_running(self, topology: Topology, elapsed: float, last_seen: str) -> str:
        return (
            f"topology {topology.name!r}: not finished after {elapsed:g} s, the wait_timeout; last seen: {last_seen}. "
            "The training goes on; wait again, or stop it with state=stopped"
        )

    def _wait_and_gather(
        self, topology: Topology, state: HostState, run_dir: str, results: RunResults
    ) -> tuple[Document, HostState]:
        results.path.mkdir(parents=True, exist_ok=True)
        try:
            with _interruptible():
                self._wait(topology, state, run_dir, results)
                return self._gather(topology, state.host, results)
        except Interrupted:
            # From here on the user's signals are ignored: nothing may be left running.
            self._stop()
            self._gather(topology, state.host, results)
            os._exit(1)

    def _wait(self, topology: Topology, state: HostState, run_dir: str, results: RunResults) -> None:
        """Return when the tasks of this host have ended or no longer can."""
        is_head = state.host == topology.hosts[0].name
        watch = self._watch = RunWatch(run_dir, self._execute, chief_log=is_head)
        mode = self._options["progress"] if is_head else "none"
        label = (self._options["label"] or topology.name) + ": "
        display = ProgressDisplay(mode, self._display.display, time.monotonic, controller_has_terminal(), label)
        vigil = _Vigil(time.monotonic)
        task_count, target_step = len(tasks(topology)), topology.training.steps

        def read() -> Sight:
            look = watch.look()
            notes: dict[str, Document] = {}
            # Where one host is all, there is nobody to tell and nothing to hear.
            if len(topology.hosts) > 1:
                if look.status is not None:
                    results.publish(state.host, {"over": False, "tasks": look.tasks})
                notes = results.notes()
            others = [task for name, note in notes.items() if name != state.host for task in note["tasks"]]
            display.update(progress_line(watch.events, look.tasks + others, task_count, target_step))
            return Sight(look, vigil.judge(look) or _failure_elsewhere(notes, state.host))

        timeout = self._options["wait_timeout"] or None
        outcome = wait(
            read,
            lambda sight: sight.look.finished or sight.over is not None,
            interval=self._options["wait_sleep"],
            timeout=timeout,
        )
        display.close()
        if not outcome.satisfied:
            last_seen = progress_line(watch.events, outcome.seen.look.tasks, task_count, target_step)
            raise AnsibleActionFail(self._still_running(topology, outcome.elapsed, last_seen))
        if not outcome.seen.look.finished and outcome.seen.look.reached:
            self._stop()

    def _gather(self, topology: Topology, host: str, results: RunResults) -> tuple[Document, HostState]:
        """Fetch what the host's tasks left, and meet with the other hosts in one document."""
        part = self._part(results)
        state = HostState.from_dict(part["state"])
        results.publish(host, dict(part, over=True, tasks=part["state"]["tasks"]))
        names = [entry.name for entry in topology.hosts]
        if host == names[0]:
            gathered = wait(
                results.notes,
                lambda notes: all(notes.get(name, {}).get("over") for name in names),
                interval=0.2,
                timeout=GATHER_SECONDS,
            ).seen
            document = self._assemble(topology, part, gathered, results)
            results.write_document(document)
            return document, state
        written = wait(results.document, lambda found: found is not None, interval=0.2, timeout=2 * GATHER_SECONDS).seen
        if written is None:
            raise AnsibleActionFail(f"the run document was not written by the chief's host {names[0]}")
        return written, state

    def _part(self, results: RunResults) -> Document:
        """Return this host's contribution to the document, with its files fetched."""
        shell = self._connection._shell
        if shell.tmpdir is None:
            self._make_tmp_path()
        archive = shell.join_path(shell.tmpdir, "run.tar")
        found = self._call("collect", archive=archive)
        with tempfile.TemporaryDirectory() as scratch:
            local = str(Path(scratch) / "run.tar")
            self._connection.fetch_file(archive, local)
            results.unpack(local)
        self._remove_tmp_path(shell.tmpdir)
        return {
            "state": found["topology"],
            "supervisor": found["supervisor"] or found["ended"] or _now(),
            "ended": found["ended"] or _now(),
            "environment": dict(found["environment"], clock_ahead_seconds=self._watch.clock_ahead_seconds),
        }

    def _assemble(
        self,
        topology: Topology,
        head: Document,
        notes: dict[str, Document],
        results: RunResults,
    ) -> Document:
        parts = []
        for entry in topology.hosts:
            note = notes.get(entry.name, {})
            if not note.get("over"):
                lost = HostState(
                    host=entry.name,
                    name=topology.name,
                    phase="lost",
                    cause={"reason": "host_lost", "task": None, "message": f"{entry.name} no longer answers"},
                )
                note = {"state": lost.as_dict(), "supervisor": head["ended"], "ended": head["ended"], "environment": {}}
            parts.append(
                HostPart(
                    state=HostState.from_dict(note["state"]),
                    supervisor=note["supervisor"],
                    ended=note["ended"],
                    environment=note["environment"],
                )
            )
        every = tasks(topology)
        logs = results.logs(every)
        events = results.write_events(logs, str(parts[0].state.run_id))
        versions = {"ansible": ansible_version, "collection": collection_version()}
        return run_document(
            topology, parts, events, logs, results.artifacts(logs), versions, self._options["benchmark"]
        )

    def _call(self, action: str, **more: object) -> Document:
        arguments = dict(self._options, action=action, **more)
        found: Document = self._execute_module("dtf.cluster.training", module_args=arguments, task_vars=self._vars)
        if found.get("failed"):
            raise AnsibleActionFail(str(found.get("msg")), result=found)
        return found

    def _stop(self) -> None:
        """Stop the topology's tasks on this host, with a checkpoint."""
        arguments = {name: self._options[name] for name in ("name", "root", "host")}
        self._execute_module("dtf.cluster.topology", module_args=dict(arguments, state="stopped"), task_vars=self._vars)

    def _execute(self, command: str) -> tuple[int, str, str]:
        try:
            done = self._low_level_execute_command(command, executable="/bin/sh")
        except AnsibleConnectionFailure as error:
            return 255, "", str(error)
        return int(done["rc"]), str(done["stdout"]), str(done["stderr"])

    def _refuse_impossible(self, topology: Topology) -> None:
        """Fail where waiting could never end: too few forks, or a host of the topology that is not in the play."""
        names = [host.name for host in topology.hosts]
        absent = [name for name in names if name not in self._vars.get("ansible_play_hosts", names)]
        if absent:
            raise AnsibleActionFail(
                "topology {!r} also runs on {}: the play must hold every host of it".format(
                    topology.name, ", ".join(absent)
                )
            )
        forks = int(context.CLIARGS.get("forks") or 5)
        if forks < len(names):
            raise AnsibleActionFail(
                f"topology {topology.name!r} runs on {len(names)} hosts, waited for at once, and forks is {forks}: "
                f"set forks to at least {len(names)}"
            )

    def _answer(
        self,
        document: Document | None,
        results: RunResults | None,
        state: HostState,
        begin: float,
        changed: bool,
    ) -> Document:
        """Return the one shape of result; a run that did not succeed fails the task."""
        answer: Document = {
            "changed": changed,
            "run": document,
            "path": results.document_path if results and document else None,
            "topology": state.as_dict(),
            "duration": round(time.monotonic() - begin, 3),
        }
        if document is not None and document["state"] != "succeeded":
            cause = document["cause"]
            answer.update(failed=True, msg=_failure_message(document, answer["path"]))
            answer["failure"] = {
                "code": cause["reason"],
                "message": cause["message"],
                "details": {"task": cause["task"]},
            }
        return answer


class _Vigil:
    """Tells a host that is only quiet from one that is gone."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._reached = self._heard = monotonic()
        self._stamp: object = None

    def judge(self, look: Look) -> str | None:
        """Return why nothing more is to be expected from the host, or ``None``."""
        now = self._monotonic()
        if not look.reached:
            if now - self._reached > UNREACHABLE_SECONDS:
                return f"the host has not answered for {UNREACHABLE_SECONDS:g} s: {look.message}"
            return None
        self._reached = now
        stamp = look.status["monotonic"] if look.status else None
        if stamp != self._stamp:
            self._stamp, self._heard = stamp, now
        if now - self._heard > SILENCE_SECONDS:
            return f"the supervisor has been silent for {SILENCE_SECONDS:g} s"
        return None


def _failure_elsewhere(notes: dict[str, Document], host: str) -> str | None:
    for name, note in notes.items():
        if name != host and note["over"] and note["state"]["phase"] != "succeeded":
            return "the run {} on {}".format(note["state"]["phase"], name)
    return None


def _failure_message(document: Document, path: object) -> str:
    cause = document["cause"]
    lines = [
        "run {} of topology {!r} {}: {}".format(
            document["run_id"], document["name"], document["state"], cause["message"]
        )
    ]
    if cause.get("object"):
        lines.append("look at: {}".format(cause["object"]))
    if cause.get("next_step"):
        lines.append("next step: {}".format(cause["next_step"]))
    if cause["log_tail"]:
        lines += ["last lines of {}:".format(cause["task"])] + ["  | " + line for line in cause["log_tail"]]
    return "\n".join([*lines, f"all of it: {path}"])


def _pod_line(topology: Topology, run: KubeRun, moment: Moment) -> str:
    """Return progress in a line: that of the training, or what its pods wait for before it begins."""
    chief = run.logs.events("worker-0")
    line = progress_line(chief, moment.state.tasks, len(tasks(topology)), topology.training.steps)
    if not chief:
        waiting = sorted({str(task["reason"]) for task in moment.state.tasks if task.get("reason")})
        line = (", ".join(waiting) or "waiting for pods") + line[line.index(" · ") :]
    if run.silent > 1:
        line += f" · the API server has not answered for {run.silent:.0f} s"
    return line


def _now() -> dict[str, float]:
    return {"wall": time.time(), "monotonic": time.monotonic()}


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into :class:`Interrupted` and ignore those that follow."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupt(_number: int, _frame: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise Interrupted

    former = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        # After an interruption the signals stay ignored until the process has stopped what it started.
        if signal.getsignal(signal.SIGINT) is interrupt:
            for number, handler in former.items():
                signal.signal(number, handler)
