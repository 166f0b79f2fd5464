"""What the laboratory keeps on this machine: caches, what it has started, and each lab's key and options."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from .problems import LabProblem, refuse
from .spec import LabSpec, name_problems


def default_folder() -> Path:
    """Return the user's folder for labs."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "dtf" / "lab"


class Store:
    """Files of the laboratory below one folder.

    Attributes:
        folder: where everything is.
        images: hosts' images as tar files.
        packages: debootstrap's packages.
        engine_log: what the Docker engine that we started has printed.
        engine_pid: its process id.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.packages = folder / "packages"
        self.engine_log = folder / "dockerd.log"
        self.engine_pid = folder / "dockerd.pid"
        self._machine = folder / "machine.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let only one command at a time change labs, whoever gives the others."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def lab(self, name: str) -> Path:
        """Return the folder of one lab. Raises ``LabProblem`` for what is no name: a folder is removed by it."""
        refuse(name_problems(name))
        return self.folder / "labs" / name

    def key(self, name: str) -> Path:
        """Return the path of the private key by which a lab's hosts are reached."""
        return self.lab(name) / "id_ed25519"

    def spec(self, name: str) -> LabSpec | None:
        """Return what a lab was made with."""
        path = self.lab(name) / "lab.json"
        if not path.exists():
            return None
        try:
            return LabSpec(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise LabProblem(f"{path} is damaged: {error}; remove it and take the lab down") from None

    def keep(self, spec: LabSpec) -> None:
        """Keep what a lab was made with."""
        self.lab(spec.name).mkdir(parents=True, exist_ok=True, mode=0o700)
        write(self.lab(spec.name) / "lab.json", json.dumps(asdict(spec), indent=2) + "\n")

    def forget(self, name: str) -> None:
        """Remove all that is kept of a lab."""
        shutil.rmtree(self.lab(name), ignore_errors=True)

    def labs(self) -> list[str]:
        """Return the names of the labs something is kept of."""
        return sorted(path.parent.name for path in (self.folder / "labs").glob("*/lab.json"))

    def blackholes(self) -> list[str]:
        """Return the ranges for which we added a blackhole route."""
        ranges: list[str] = self._changed_here().get("blackholes", [])
        return ranges

    def keep_blackholes(self, ranges: list[str]) -> None:
        """Remember the ranges for which we added a blackhole route."""
        self._keep_changed(blackholes=ranges or None)

    def settings(self) -> dict[str, str]:
        """Return the kernel settings that we changed, as they were before."""
        former: dict[str, str] = self._changed_here().get("settings", {})
        return former

    def keep_settings(self, former: dict[str, str]) -> None:
        """Remember the kernel settings that we changed, as they were before."""
        self._keep_changed(settings=former or None)

    def _changed_here(self) -> dict[str, Any]:
        if not self._machine.exists():
            return {}
        known: dict[str, Any] = json.loads(self._machine.read_text(encoding="utf-8"))
        return known

    def _keep_changed(self, **entries: Any) -> None:
        known = {name: entry for name, entry in {**self._changed_here(), **entries}.items() if entry is not None}
        if known:
            write(self._machine, json.dumps(known) + "\n")
        else:
            self._machine.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_inventory(folder: Path, header: str, document: Any, settings: Path) -> None:
    """Write a lab's inventory into a folder; one without variables gets a link to the testbed's."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = folder / "group_vars"
    if not variables.exists() and settings.exists():
        variables.unlink(missing_ok=True)
        variables.symlink_to(settings)
    write(folder / "hosts.yml", header + yaml.safe_dump(document, sort_keys=False, explicit_start=True))


def remove_inventory(folder: Path) -> None:
    """Remove what ``write_inventory`` has written, and the folder if it held nothing else."""
    (folder / "hosts.yml").unlink(missing_ok=True)
    variables = folder / "group_vars"
    if variables.is_symlink():
        variables.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
