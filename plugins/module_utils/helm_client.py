# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``helm`` program: one release of one namespace, read, rendered, written and removed.

Values go in by standard input and stand in no file and on no command line. Helm's own folders are one that is thrown
away, so that no repository, plugin or login of the user's changes what it does.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import manifest_yaml, programs
from .errors import ActionFailed, InvalidInput, Problem

#: What a release is while somebody changes it, or since somebody was killed in the midst of that.
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
DEPLOYED = "deployed"
#: Revisions of a release that Helm keeps.
HISTORY = 5
#: Seconds that Helm gets beyond the time it gives one operation.
MARGIN_SECONDS = 60.0
_SHOWN_CHARACTERS = 2000

_SCHEMA = re.compile(r"^\s*- at '(?P<place>[^']*)': (?P<words>.+)$", re.MULTILINE)
_NO_KIND = re.compile(r'no matches for kind "(?P<kind>[^"]+)" in version "(?P<version>[^"]+)"')
_HOOK = re.compile(r"(?P<event>(?:pre|post)-(?:install|upgrade|delete|rollback))\b")


@dataclass(frozen=True)
class Chart:
    """What a chart says of itself."""

    name: str
    version: str
    app_version: str

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {"name": self.name, "version": self.version, "app_version": self.app_version}


@dataclass(frozen=True)
class Release:
    """A release as the cluster has it.

    Attributes:
        revision: counted from 1.
        status: Helm's word, such as :data:`DEPLOYED`.
        chart: what it is of.
        manifest: its objects as YAML, without hooks.
        values: what was given over the chart's own; may hold secrets.
    """

    revision: int
    status: str
    chart: Chart
    manifest: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    @property
    def pending(self) -> bool:
        """Whether somebody changes it, or began to."""
        return self.status in PENDING


class UnknownKind(ActionFailed):
    """A manifest has a kind that the cluster does not know, as it is before its definition is there."""


@dataclass(frozen=True)
class Helm:
    """The program, and the release it is asked about.

    Attributes:
        program: its name or path.
        release_name: of the release.
        namespace: of the release.
        kubeconfig: path; empty is Helm's own choice.
        context: in the kubeconfig; empty is its current one.
        timeout: seconds that one operation may take, such as one hook.
        run: runs a program; for tests.
    """

    program: str
    release_name: str
    namespace: str
    kubeconfig: str = ""
    context: str = ""
    timeout: float = 300.0
    run: Callable[..., programs.Ended] = programs.run

    def chart(self, chart: str) -> Chart:
        """Return what a chart says of itself.

        Raises:
            ActionFailed: ``chart``, it is none.
        """
        found, _problems = manifest_yaml.documents(self._helm(["show", "chart", chart]))
        said = found[0][1] if found and isinstance(found[0][1], Mapping) else {}
        return Chart(*(str(said.get(name) or "") for name in ("name", "version", "appVersion")))

    def defaults(self, chart: str) -> Mapping[str, Any]:
        """Return a chart's own values."""
        found, problems = manifest_yaml.documents(self._helm(["show", "values", chart]))
        # A file of comments alone holds nothing.
        values = (found[0][1] if found else None) or {}
        if problems or not isinstance(values, Mapping):
            raise ActionFailed("chart", f"{chart}: its values.yaml is no mapping: get another copy of the chart")
        return values

    def definitions(self, chart: str) -> str:
        """Return the custom resource definitions of a chart's folder ``crds``, as YAML."""
        return self._helm(["show", "crds", chart])

    def release(self) -> Release | None:
        """Return the release, or ``None`` where there is none."""
        try:
            status = json.loads(self._asking(["status", self.release_name, "--output=json"]))
            metadata = json.loads(self._asking(["get", "metadata", self.release_name, "--output=json"]))
        except ActionFailed as error:
            if error.code == "no_release":
                return None
            raise
        return Release(
            revision=int(status["version"]),
            status=str(status["info"]["status"]),
            chart=Chart(str(metadata["chart"]), str(metadata["version"]), str(metadata.get("appVersion", ""))),
            manifest=str(status.get("manifest") or ""),
            values=status.get("config") or {},
        )

    def render(
        self,
        chart: str,
        values: Mapping[str, Any],
        *,
        upgrade: bool,
        kubernetes: str = "",
        api_versions: Sequence[str] = (),
    ) -> str:
        """Return what a chart gives with values, hooks included, definitions not.

        Args:
            chart: path.
            values: over the chart's own.
            upgrade: whether the release is there already, which a template may ask.
            kubernetes: version to render for without asking the cluster, which then need not know the kinds.
            api_versions: that the cluster has or will have, where it is not asked.

        Raises:
            InvalidInput: the chart's schema refuses values; all of them are told.
            UnknownKind: the cluster was asked and has no such kind.
        """
        words = ["template", self.release_name, chart, "--skip-crds", "--values=-"]
        words += ["--is-upgrade"] if upgrade else []
        if kubernetes:
            words += [f"--kube-version={kubernetes}", *(f"--api-versions={version}" for version in api_versions)]
        else:
            words += ["--dry-run=server"]
        return self._asking(words, values)

    def sketch(self, chart: str, values: Mapping[str, Any]) -> str:
        """Return what a chart gives with values where no cluster is asked."""
        words = ["template", self.release_name, chart, "--skip-crds", "--values=-", f"--namespace={self.namespace}"]
        return self._helm(words, json.dumps(values))

    def put(self, chart: str, values: Mapping[str, Any]) -> int:
        """Bring the release to what chart and values say; return its revision. What differs in the cluster is mended.

        Nothing is waited for but hooks.
        """
        words = ["upgrade", self.release_name, chart, "--install", "--skip-crds", "--values=-", "--output=json"]
        words += ["--hide-notes", "--wait=hookOnly", "--server-side=true", "--force-conflicts", "--reset-values"]
        words += [f"--timeout={self.timeout:g}s", f"--history-max={HISTORY}"]
        return int(json.loads(self._asking(words, values))["version"])

    def remove(self) -> None:
        """Remove the release, and wait until its objects are gone."""
        self._asking(["uninstall", self.release_name, "--ignore-not-found", "--wait", f"--timeout={self.timeout:g}s"])

    def record(self, revision: int) -> str:
        """Return the name of the secret that is a revision's record."""
        return f"sh.helm.release.v1.{self.release_name}.v{revision}"

    def _asking(self, words: list[str], values: Mapping[str, Any] | None = None) -> str:
        """Run Helm on the cluster."""
        where = [f"--namespace={self.namespace}"]
        where += [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        where += [f"--kube-context={self.context}"] if self.context else []
        return self._helm([*words, *where], None if values is None else json.dumps(values))

    def _helm(self, words: list[str], stdin: str | None = None) -> str:
        with _own_folders() as environment:
            try:
                ended = self.run(
                    [self.program, *words], stdin=stdin, environment=environment, timeout=self.timeout + MARGIN_SECONDS
                )
            except FileNotFoundError:
                step = "give its path in helm; the bundle has it in bin/helm"
                raise ActionFailed("helm_missing", f"there is no program {self.program}: {step}") from None
            except programs.TimedOut:
                raise _timeout(words[0], self.timeout) from None
        if ended.returncode:
            raise failure(f"helm {words[0]} {self.release_name}", ended.stderr.strip())
        return str(ended.stdout)


def failure(what: str, printed: str) -> ActionFailed | InvalidInput:
    """Return what Helm's words mean.

    Args:
        what: was done.
        printed: by Helm, on its standard error.
    """
    words = printed.rpartition("Error: ")[2] if "Error: " in printed else printed
    words = words[-_SHOWN_CHARACTERS:] or "it said nothing"
    if "release: not found" in words or "release not found" in words:
        return ActionFailed("no_release", f"{what}: there is no such release")
    if "don't meet the specifications of the schema" in words:
        return InvalidInput("values", [_refused(found) for found in _SCHEMA.finditer(words)])
    unknown = _NO_KIND.search(words)
    if unknown:
        step = "install what defines it first, or let crds: apply do it where the chart has the definition"
        return UnknownKind(
            "unknown_kind", f"{what}: the cluster knows no {unknown['kind']} of {unknown['version']}: {step}"
        )
    for sign, code, step in _MEANINGS:
        if sign in words:
            return ActionFailed(code, f"{what}: {words}: {step}")
    return ActionFailed("helm", f"{what}: {words}")


def failed_event(error: ActionFailed) -> str:
    """Return the event whose hook failed, such as ``pre-install``; empty if it was none."""
    found = _HOOK.search(error.message) if error.code in ("hook", "timeout") else None
    return found["event"] if found else ""


#: What Helm says, the word for it, and the next step; the first that is found.
_MEANINGS = (
    ("another operation (install/upgrade/rollback) is in progress", "pending", "wait for the other one to end"),
    ("cluster unreachable", "unreachable", "look at kubeconfig and context, and at the control plane"),
    ("kubernetes cluster unreachable", "unreachable", "look at kubeconfig and context, and at the control plane"),
    ("invalid ownership metadata", "not_ours", "remove these objects, or install under the name they belong to"),
    ("context deadline exceeded", "timeout", "raise timeout_seconds, or look at what it waited for"),
    ("timed out waiting", "timeout", "raise timeout_seconds, or look at what it waited for"),
    ("failed pre-install", "hook", "look at the hook's pod"),
    ("failed post-install", "hook", "look at the hook's pod"),
    ("pre-upgrade hooks failed", "hook", "look at the hook's pod"),
    ("post-upgrade hooks failed", "hook", "look at the hook's pod"),
    ("hook", "hook", "look at the hook's pod"),
    ("is forbidden", "forbidden", "let the user of the kubeconfig do this, or use other credentials"),
    ("namespaces", "namespace_missing", "create the namespace, or say create_namespace: true"),
    ("does not appear to be a gzipped archive", "chart", "give the path of a packed chart or of a chart's folder"),
    ("Chart.yaml", "chart", "give the path of a packed chart or of a chart's folder"),
    ("chart", "chart", "give the path of a packed chart or of a chart's folder"),
    ("path ", "chart", "give the path of a packed chart or of a chart's folder"),
)


def _refused(found: re.Match[str]) -> Problem:
    """Return a value that a schema refuses. Helm tells its type and what is accepted, and of the value nothing."""
    place = "values" + "".join(f".{part}" for part in found["place"].split("/") if part)
    return Problem(place, "its value", found["words"])


def _timeout(word: str, seconds: float) -> ActionFailed:
    step = "raise timeout_seconds, or look at what it waits for"
    return ActionFailed("timeout", f"helm {word} did not end within {seconds:g} s: {step}")


@contextmanager
def _own_folders() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="dtf-helm-") as folder:
        yield {
            "HELM_CACHE_HOME": folder,
            "HELM_CONFIG_HOME": folder,
            "HELM_DATA_HOME": folder,
            "HELM_DRIVER": "secret",
            "HELM_DEBUG": "false",
        }
