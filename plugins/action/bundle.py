# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``bundle``: fills the controller's bundle from upstream, or verifies the one that is there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..module_utils.bundle import (
    ARCHITECTURES,
    Entry,
    Lock,
    Measured,
    Mirrors,
    addresses,
    differences,
    is_there,
    manifest,
    missing,
    pinned,
    read_lock,
    refusal,
)
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.host_files import read, write
from ..plugin_utils.bundle_fetch import Fetched, Fetcher
from ..plugin_utils.bundle_folder import BundleFolder
from ..plugin_utils.controller_action import ControllerAction
from ..plugin_utils.download import Client
from ..plugin_utils.progress_display import ProgressDisplay, controller_has_terminal

#: The lock that comes with the collection.
SHIPPED_LOCK = Path(__file__).absolute().parents[2] / "roles" / "bundle" / "files" / "bundle.lock.yml"

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "source": {"type": "str", "default": "upstream", "choices": ["upstream", "directory"]},
    "lock": {"type": "path"},
    "architecture": {"type": "str", "default": "amd64", "choices": list(ARCHITECTURES)},
    "require": {"type": "list", "elements": "str", "default": []},
    "only_required": {"type": "bool", "default": False},
    "mirrors": {"type": "dict", "default": {}},
    "environment": {"type": "dict", "default": {}},
    "ca": {"type": "path"},
    "parallel": {"type": "int", "default": 4},
    "retries": {"type": "int", "default": 5},
    "timeout": {"type": "float", "default": 30},
    "pin_unknown": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": False},
    "verify": {"type": "str", "default": "changed", "choices": ["changed", "always"]},
    "progress": {"type": "str", "default": "auto", "choices": ["auto", "lines", "none"]},
}

#: Text of a lock that this collection has written to.
LOCK_HEAD = (
    "# Artifacts of a bundle and their digests. The digests that were not known were learnt by a first download.\n"
)


@dataclass(frozen=True)
class Plan:
    """What has to be done to a bundle.

    Attributes:
        before: its manifest.
        measured: what of it really is there.
        lacking: what has to be fetched.
        kept: artifacts that stay.
        gone: files that go.
    """

    before: dict[str, Any]
    measured: dict[str, Measured | None]
    lacking: list[Entry]
    kept: list[dict[str, Any]]
    gone: list[str]


class ActionModule(ControllerAction):
    """Brings a bundle's folder to what the lock says, or says what is wrong with it."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, fetched, removed, pinned, downloads, addresses, artifacts, diff}``."""
        with _environment(options["environment"]):
            return self._brought(options)

    def _brought(self, options: Mapping[str, Any]) -> dict[str, Any]:
        document, mirrors = _read(options)
        lock = read_lock(document, options["architecture"], str(options["lock"] or SHIPPED_LOCK))
        folder = BundleFolder(Path(options["path"]))
        if options["source"] == "directory":
            return self._verified(options, lock, folder)
        if self._task.check_mode:
            return self._filled(options, document, lock, mirrors, folder)
        with folder.locked():
            return self._filled(options, document, lock, mirrors, BundleFolder(folder.path))

    def _verified(self, options: Mapping[str, Any], lock: Lock, folder: BundleFolder) -> dict[str, Any]:
        """Say whether the bundle that is there is whole and has what is needed."""
        document = folder.manifest()
        if document is None:
            accepted = "a folder with a bundle's manifest.json; fill it first, see docs/offline.md"
            raise InvalidInput("the bundle", [Problem("path", str(folder.path), accepted)])
        artifacts: list[dict[str, Any]] = document["artifacts"]
        measured = self._measured(options, folder, artifacts)
        _refuse(options, lock, folder, document, measured)
        return _answer(options, document, document, lock, Mirrors({}), [])

    def _filled(
        self,
        options: Mapping[str, Any],
        document: Mapping[str, Any],
        lock: Lock,
        mirrors: Mirrors,
        folder: BundleFolder,
    ) -> dict[str, Any]:
        """Fetch what the bundle lacks."""
        plan = self._plan(options, lock, folder)
        lacking, before, gone = plan.lacking, plan.before, plan.gone
        if self._task.check_mode:
            return _answer(options, before, _foretold(lock, plan.kept, lacking), lock, mirrors, lacking, removed=gone)
        fetched = self._fetch(options, lock, mirrors, folder, lacking) if lacking else Fetched()
        after = manifest(lock.architecture, before["artifacts"], fetched.artifacts)
        if gone and not fetched.failures:
            stay = [artifact for artifact in after["artifacts"] if artifact["path"] not in gone]
            after = manifest(lock.architecture, stay, [])
        if after != before:
            folder.write_manifest(after)
        if fetched.learnt:
            # Through JSON: options are texts of a kind of Ansible's own, which YAML does not know.
            plain = json.loads(json.dumps(pinned(document, fetched.learnt, lock.architecture)))
            text = yaml.safe_dump(plain, sort_keys=False, width=120)
            write(Path(options["lock"]), LOCK_HEAD + text)
        folder.save_record()
        _tell(fetched.failures)
        folder.remove(gone)
        folder.forget_downloads()
        measured = self._measured(options, folder, after["artifacts"]) if lacking else plan.measured
        _refuse(options, lock, folder, after, measured)
        learnt = {name: digest for (_unused, name), digest in fetched.learnt.items()}
        return _answer(options, before, after, lock, mirrors, lacking, removed=gone, learnt=learnt)

    def _plan(self, options: Mapping[str, Any], lock: Lock, folder: BundleFolder) -> Plan:
        """Return what has to be done; refuse what the lock does not allow."""
        before = folder.manifest() or manifest(lock.architecture, [], [])
        if before["architecture"] != lock.architecture:
            accepted = "{}, which the bundle {} is for; or another folder".format(before["architecture"], folder.path)
            raise InvalidInput("the bundle", [Problem("architecture", lock.architecture, accepted)])
        artifacts: list[dict[str, Any]] = before["artifacts"]
        by_path = {artifact["path"]: artifact for artifact in artifacts}
        measured = self._measured(options, folder, artifacts)
        chosen = lock.chosen(options["require"], only_required=options["only_required"])
        lacking = [entry for entry in chosen if not is_there(entry, by_path, measured)]
        unpinned = [entry for entry in lacking if not entry.digest]
        if unpinned and options["pin_unknown"] and not options["lock"]:
            accepted = "a file of your own to write the learnt digests to; the collection's own lock is never changed"
            raise InvalidInput("the bundle", [Problem("lock", options["lock"], accepted)])
        if unpinned and not options["pin_unknown"]:
            names = [entry.name for entry in unpinned]
            raise ActionFailed("digest_unknown", refusal(unpinned, options["lock"] or ""), artifacts=names)
        if not options["prune"]:
            return Plan(before, measured, lacking, artifacts, [])
        kept = [artifact for artifact in artifacts if _is_locked(artifact, lock)]
        known = {artifact["path"] for artifact in kept} | {out.path for entry in chosen for out in entry.outputs}
        gone = {artifact["path"] for artifact in artifacts} - known
        return Plan(before, measured, lacking, kept, sorted(gone.union(folder.others(known))))

    def _fetch(
        self, options: Mapping[str, Any], lock: Lock, mirrors: Mirrors, folder: BundleFolder, lacking: list[Entry]
    ) -> Fetched:
        client = Client(timeout=options["timeout"], retries=options["retries"], ca_path=options["ca"] or "")
        display = ProgressDisplay(
            options["progress"], self._display.display, time.monotonic, controller_has_terminal(), "bundle: "
        )
        try:
            return Fetcher(client, mirrors, folder, lock.architecture).fetch(
                lacking, options["parallel"], display.update, time.monotonic
            )
        finally:
            display.close()

    def _measured(
        self, options: Mapping[str, Any], folder: BundleFolder, artifacts: list[dict[str, Any]]
    ) -> dict[str, Measured | None]:
        paths = [artifact["path"] for artifact in artifacts]
        found = folder.measure(paths, remember=options["verify"] == "changed", parallel=options["parallel"])
        if not self._task.check_mode:
            folder.save_record()
        return found


@contextmanager
def _environment(more: Mapping[str, object]) -> Iterator[None]:
    """Have a proxy's variables and the like in the environment."""
    former = dict(os.environ)
    os.environ.update({name: str(text) for name, text in more.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def _read(options: Mapping[str, Any]) -> tuple[dict[str, Any], Mirrors]:
    """Return the lock's document and the mirrors; raise with all that is wrong with the options."""
    problems = [
        Problem(name, options[name], f"{bound:g} or more")
        for name, bound in (("parallel", 1), ("retries", 0), ("timeout", 0.1))
        if options[name] < bound
    ]
    if options["ca"] and not Path(options["ca"]).is_file():
        problems.append(Problem("ca", options["ca"], "a file with certificates in PEM"))
    mirrors = Mirrors({})
    try:
        mirrors = Mirrors.from_params(options["mirrors"])
    except InvalidInput as error:
        problems += error.problems
    path = Path(options["lock"] or SHIPPED_LOCK)
    text = read(path)
    if text is None and options["pin_unknown"]:
        text = read(SHIPPED_LOCK)
    document: Any = None
    try:
        if text is None:
            raise ValueError("no such file")
        document = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        problems.append(Problem("lock", str(path), f"a lock, as the role's files/bundle.lock.yml is one ({error})"))
    if problems:
        raise InvalidInput("the bundle", problems)
    return document, mirrors


def _tell(failures: list[str]) -> None:
    """Raise if something could not be fetched."""
    if failures:
        count = "{} artifact{}".format(len(failures), "" if len(failures) == 1 else "s")
        lines = "\n".join(f"  - {failure}" for failure in failures)
        message = f"{count} could not be fetched; what came is kept, and is not fetched again:\n{lines}"
        raise ActionFailed("not_fetched", message, problems=failures)


def _is_locked(artifact: Mapping[str, Any], lock: Lock) -> bool:
    outputs = {(output.name, output.path) for entry in lock.entries for output in entry.outputs}
    return (artifact["name"], artifact["path"]) in outputs


def _refuse(
    options: Mapping[str, Any],
    lock: Lock,
    folder: BundleFolder,
    document: Mapping[str, Any],
    measured: Mapping[str, Measured | None],
) -> None:
    """Raise with every file that is not what the manifest says, and everything that is needed and not there."""
    artifacts: list[dict[str, Any]] = document["artifacts"]
    problems = [*differences(artifacts, measured), *missing(options["require"], artifacts, lock)]
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise ActionFailed(
            "bundle_differs",
            "{}: {} problem{}, the bundle is refused:\n{}".format(
                folder.path, len(problems), "" if len(problems) == 1 else "s", lines
            ),
            problems=[{"path": entry.path, "expected": entry.expected, "found": entry.found} for entry in problems],
        )


def _foretold(lock: Lock, keep: list[dict[str, Any]], lacking: list[Entry]) -> dict[str, Any]:
    """Return what is known of the manifest before anything is downloaded."""
    coming = [
        {
            "name": output.name,
            "kind": output.kind,
            "version": output.version,
            "path": output.path,
            "sha256": entry.digest
            if not entry.members and not entry.image and entry.digest
            else "known when it has come",
        }
        for entry in lacking
        for output in entry.outputs
    ]
    return manifest(lock.architecture, keep, coming)


def _answer(
    options: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    lock: Lock,
    mirrors: Mirrors,
    lacking: list[Entry],
    *,
    removed: list[str] | None = None,
    learnt: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the one shape of result."""
    fetched = sorted(output.path for entry in lacking for output in entry.outputs)
    downloads = [
        {"name": entry.name, "kind": entry.kind, "version": entry.version, "address": _address(entry, mirrors)}
        for entry in lacking
    ]
    return {
        "changed": bool(fetched or removed or learnt),
        "path": str(options["path"]),
        "fetched": fetched,
        "removed": removed or [],
        "pinned": dict(learnt or {}),
        "downloads": downloads,
        "addresses": addresses(lock.chosen(options["require"], only_required=options["only_required"]), lock, mirrors),
        "artifacts": before["artifacts"] if lacking and not _whole(after) else after["artifacts"],
        "diff": {"before": _listing(before, removed), "after": _listing(after, None)},
    }


def _whole(document: Mapping[str, Any]) -> bool:
    return all("size" in artifact for artifact in document["artifacts"])


def _address(entry: Entry, mirrors: Mirrors) -> str:
    if not entry.image:
        return mirrors.of(entry.url)
    root, name = mirrors.registry(entry.image)
    reference = f"sha256:{entry.digest}" if entry.digest else entry.version
    return f"{root}/{name}/manifests/{reference}"


def _listing(document: Mapping[str, Any], removed: list[str] | None) -> str:
    """Return a bundle's files for people, those too that nobody had listed."""
    lines = {
        artifact["path"]: "{path}: {version}, sha256 {sha256}\n".format_map(artifact)
        for artifact in document["artifacts"]
    }
    unlisted = {path: f"{path}: not in the manifest\n" for path in removed or [] if path not in lines}
    return "".join(text for _unused, text in sorted({**lines, **unlisted}.items()))
