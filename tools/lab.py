"""Hosts in Docker to try a cluster on: systemd, sshd, addresses and disks of their own, and an inventory of them.

    python tools/lab.py up [--hosts 3] [--flavour prepared|plain]
    python tools/lab.py status
    python tools/lab.py add | stop HOST | start HOST | down
    python tools/lab.py image [--flavour prepared|plain]

See docs/laboratory.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from laboratory.problems import LabProblem
from laboratory.spec import FLAVOURS, LabSpec
from laboratory.store import Store, default_folder
from laboratory.workflow import HostStatus, Laboratory

ROOT = Path(__file__).resolve().parents[1]


def say(text: str) -> None:
    """Tell progress at once, and not where a program reads the result."""
    print(text, file=sys.stderr, flush=True)


def table(statuses: Sequence[HostStatus]) -> str:
    """Return the hosts' states as a person reads them."""
    rows = [("HOST", "ADDRESS", "STATE", "SYSTEMD")]
    rows += [
        (status.host, status.address, status.state, " ".join((status.systemd or "-", *status.failed_units)))
        for status in statuses
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def folder(text: str) -> str:
    """Return the path of an inventory's folder: from the checkout if it is in there, so that both may move."""
    path = Path(text).resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    usual = LabSpec()
    found = argparse.ArgumentParser(description="Hosts in Docker to try a cluster on; see docs/laboratory.md.")
    commands = found.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", default=usual.name, help="of the lab (default: %(default)s)")
    shared.add_argument("--format", choices=("table", "json"), default="table", help="of what is printed")

    # Without an option a lab stays as it was made, and a new one is made with the default.
    up = commands.add_parser("up", parents=[shared], help="make a lab, or make it whole again")
    up.add_argument("--hosts", type=int, help=f"one control plane and the rest workers (default: {usual.hosts})")
    up.add_argument("--flavour", help=f"one of {', '.join(FLAVOURS)} (default: {usual.flavour})")
    up.add_argument("--subnet", help=f"of the hosts (default: {usual.subnet})")
    up.add_argument("--memory", help=f"of each host (default: {usual.memory})")
    up.add_argument("--cpus", type=float, help="of each host; 0 is no limit (default)")
    up.add_argument("--pod-cidr", help=f"what the cluster's pods will have (default: {usual.pod_cidr})")
    up.add_argument("--service-cidr", help=f"what its services will have (default: {usual.service_cidr})")
    up.add_argument("--inventory", type=folder, help=f"folder of the inventory (default: {usual.inventory})")

    commands.add_parser("status", parents=[shared], help="how the hosts are")
    add = commands.add_parser("add", parents=[shared], help="one worker more")
    add.add_argument("--inventory", type=folder, help="folder of the inventory, to be sure that it is this lab's")
    for name, text in (("stop", "shut a host down"), ("start", "start a host again")):
        commands.add_parser(name, parents=[shared], help=text).add_argument("host", metavar="HOST")
    image = commands.add_parser("image", help="make the hosts' image and nothing else")
    image.add_argument("--flavour", help=f"one of {', '.join(FLAVOURS)} (default: {usual.flavour})")
    down = commands.add_parser("down", parents=[shared], help="remove a lab and all it left on the machine")
    down.add_argument("--inventory", type=folder, help="folder of the inventory, if it is not known any more")
    return found


def main() -> int:
    """Do what the command line says and return the exit code."""
    options = vars(parser().parse_args())
    command, style = options.pop("command"), options.pop("format", "table")
    laboratory = Laboratory(ROOT, Store(default_folder()), say)
    try:
        if command == "down":
            laboratory.down(options["name"], options["inventory"])
            return 0
        if command == "image":
            print(laboratory.image(options["flavour"]))
            return 0
        if command == "up":
            found = laboratory.up(options)
        elif command == "add":
            found = laboratory.add(options["name"], options["inventory"])
        elif command in {"stop", "start"}:
            found = getattr(laboratory, command)(options["name"], options["host"])
        else:
            found = laboratory.status(options["name"])
    except KeyboardInterrupt:
        print("lab: interrupted; the same command again goes on from there", file=sys.stderr)
        return 130
    except LabProblem as problem:
        print(*(f"lab: {reason}" for reason in problem.reasons), sep="\n", file=sys.stderr)
        return 2
    print(json.dumps({"hosts": [asdict(status) for status in found]}, indent=2) if style == "json" else table(found))
    return 0 if command == "stop" or all(status.good for status in found) else 1


if __name__ == "__main__":
    sys.exit(main())
