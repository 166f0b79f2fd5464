# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docker, podman and buildah behind one small interface; the only file that starts one of them.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from .errors import ActionFailed
from .programs import SEARCH_PATH, Ended, run

BUILDERS = ("docker", "podman", "buildah")
_LAST_LINES = 25


class Builder:
    """A program that builds images, and what it needs to be told in its own words."""

    def __init__(self, name: str, program: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._program = program
        #: options of one's own for each build, such as ``--isolation chroot``.
        self._arguments = arguments
        self._environment = dict(environment)

    def answers(self) -> str:
        """Return why it cannot work here, or nothing."""
        ended = self._run(["info"], timeout=60)
        return "" if ended.returncode == 0 else _last(ended)

    def identity(self, reference: str) -> str:
        """Return the digest that stands for an image the builder has; nothing if it has none of that name."""
        field = "{{.FromImageID}}" if self.name == "buildah" else "{{.Id}}"
        kind = ["inspect", "--type", "image"] if self.name == "buildah" else ["image", "inspect"]
        ended = self._run([*kind, "--format", field, reference], timeout=60)
        found = ended.stdout.strip().rpartition(":")[2]
        return found if ended.returncode == 0 and re.fullmatch("[0-9a-f]{64}", found) else ""

    def load(self, archive: Path) -> None:
        """Take an image from a file."""
        command = ["pull", f"docker-archive:{archive}"] if self.name == "buildah" else ["load", "--input", str(archive)]
        self._must(command, f"did not take {archive}")

    def pull(self, reference: str) -> None:
        """Fetch an image."""
        self._must(["pull", reference], f"could not pull {reference}")

    def build(self, context: Path, base: str, name: str) -> None:
        """Build a context's Containerfile, with a layer for each of its instructions."""
        options = ["--file", str(context / "Containerfile"), "--build-arg", f"BASE={base}", "--tag", name]
        if self.name != "docker":
            options += ["--layers", "--format", "docker", "--pull-never" if self.name == "buildah" else "--pull=never"]
        self._must(["build", *options, *self._arguments, str(context)], f"could not build {name}")

    def save(self, name: str, target: Path) -> None:
        """Write an image into a file, in docker's own format, which all of them know."""
        command = ["save", "--output", str(target), name]
        if self.name == "podman":
            command[1:1] = ["--format", "docker-archive"]
        if self.name == "buildah":
            command = ["push", "--disable-compression", name, f"docker-archive:{target}:{name}"]
        self._must(command, f"could not save {name}")

    def remove(self, name: str) -> None:
        """Take a name off an image; layers that other builds may use stay in the builder's own cache."""
        self._run(["rmi", name], timeout=300)

    def _must(self, arguments: list[str], failed: str) -> None:
        ended = self._run(arguments)
        if ended.returncode:
            said = _last(ended)
            raise ActionFailed("builder_failed", f"{self.name} {failed}:\n{said}", builder=self.name, said=said)

    def _run(self, arguments: list[str], timeout: float | None = None) -> Ended:
        # A user's own place for programs counts, and what the builder starts is found where it is.
        environment = {"PATH": os.environ.get("PATH", SEARCH_PATH), **self._environment}
        if self.name == "docker" and "DOCKER_BUILDKIT" not in {**os.environ, **environment}:
            # A newer client without its plug-in refuses to build at all, unless it is told to do it the old way.
            has_plugin = run([self._program, "buildx", "version"], environment=environment).returncode == 0
            environment["DOCKER_BUILDKIT"] = "1" if has_plugin else "0"
        return run([self._program, *arguments], environment=environment, timeout=timeout)


def _last(ended: Ended) -> str:
    lines = (ended.stdout + "\n" + ended.stderr).strip().splitlines()
    return json.dumps("nothing") if not lines else "\n".join(lines[-_LAST_LINES:])


def choose(wanted: str, arguments: list[str], environment: Mapping[str, str]) -> Builder:
    """Return the builder that is asked for, or for ``auto`` the first one that works here."""
    tried = []
    for name in BUILDERS if wanted == "auto" else (wanted,):
        program = shutil.which(name)
        if program is None:
            tried.append(f"{name}: not installed")
            continue
        builder = Builder(name, program, arguments, environment)
        why = builder.answers()
        if not why:
            return builder
        tried.append(f"{name}: {why}")
    raise ActionFailed(
        "no_builder",
        "no builder works on this host; install docker, podman or buildah, or start its daemon:\n  "
        + "\n  ".join(tried),
        tried=tried,
    )
