#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: the wheels that a requirements file pins, in a folder."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheels
short_description: Keep the wheels that a requirements file pins in a folder
version_added: 0.1.0
description:
  - Downloads what is missing with C(pip download), for the Python and the machine that the image is for, and pip's own
    wheel with it. What is there is not asked for again.
  - Where no index can be reached, a folder that was filled elsewhere is taken as it is.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  path:
    description: Folder of the wheels.
    type: path
    required: true
  requirements:
    description: File with the pins, one C(name==version) a line.
    type: path
    required: true
  python:
    description: Version of the Python that the wheels are for.
    type: str
    default: "3.11"
  architecture:
    description: Machine that the wheels are for.
    type: str
    default: amd64
    choices: [amd64, arm64]
  executable:
    description: Python that runs pip. Without it, the one that runs this module.
    type: path
  extra_args:
    description: More options for C(pip download), such as C(--index-url) or C(--cert).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be downloaded.
    support: full
  diff_mode:
    description: Shows the wheels before and after.
    support: full
"""

EXAMPLES = r"""
- name: Keep the trainer's wheels
  dtf.cluster.wheels:
    path: ~/.cache/dtf/wheels
    requirements: trainer/requirements.txt
"""

RETURN = r"""
path:
  description: Folder of the wheels.
  returned: success
  type: str
  sample: /home/me/.cache/dtf/wheels
wheels:
  description: Names of the wheels that belong to the pins. In check mode those that are there.
  returned: success
  type: list
  elements: str
  sample: [tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl]
fetched:
  description: Pins that were downloaded, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: ["tensorflow-cpu==2.21.0"]
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.image_plan import INSTALLER, Pin, download_options, pins, wheel_of


def wanted(path: Path, python: str) -> list[Pin]:
    """Return the pins of a file; refuse one that leaves a choice."""
    problems = []
    found: list[Pin] = []
    if not re.fullmatch(r"3\.\d+", python):
        problems.append(Problem("python", python, "a version such as 3.11"))
    try:
        found, wrong = pins(path.read_text(encoding="utf-8"))
        problems += [Problem("requirements", line, "name==version") for line in wrong]
    except OSError as error:
        problems.append(Problem("requirements", str(path), f"a readable file ({error.strerror})"))
    if problems:
        raise InvalidInput("the wheels", problems)
    return [*found, INSTALLER]


def missing(folder: Path, chosen: list[Pin]) -> list[Pin]:
    """Return the pins without a wheel in a folder."""
    names = [path.name for path in folder.glob("*.whl")]
    return [pin for pin in chosen if wheel_of(pin, names) is None]


def fetch(params: dict[str, Any], folder: Path, lacking: list[Pin]) -> None:
    """Download wheels; a folder that is stopped in the middle has whole ones only."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as scratch:
        command = [params["executable"] or sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--progress-bar", "off", "--dest", scratch]
        command += [*download_options(params["architecture"], params["python"]), *params["extra_args"]]
        ended = subprocess.run(
            [*command, *map(str, lacking)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise ActionFailed(
                "not_fetched",
                "pip could not download {} for Python {} on {}:\n{}".format(
                    ", ".join(map(str, lacking)), params["python"], params["architecture"], ended.stderr.strip()
                ),
                lacking=[str(pin) for pin in lacking],
            )
        for path in Path(scratch).glob("*.whl"):
            path.replace(folder / path.name)


def main() -> None:
    """Compare the folder with the pins and fetch what it lacks."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "requirements": {"type": "path", "required": True},
            "python": {"type": "str", "default": "3.11"},
            "architecture": {"type": "str", "default": "amd64", "choices": ["amd64", "arm64"]},
            "executable": {"type": "path"},
            "extra_args": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["path"])
    try:
        chosen = wanted(Path(module.params["requirements"]), module.params["python"])
        before = [path.name for path in folder.glob("*.whl")]
        lacking = missing(folder, chosen)
        if lacking and not module.check_mode:
            fetch(module.params, folder, lacking)
            left = missing(folder, chosen)
            if left:
                raise ActionFailed("not_fetched", "pip brought no wheel of " + ", ".join(map(str, left)))
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    after = [path.name for path in folder.glob("*.whl")]
    found = [name for name in (wheel_of(pin, after) for pin in chosen) if name]
    module.exit_json(
        changed=bool(lacking),
        path=str(folder),
        wheels=sorted(found),
        fetched=[str(pin) for pin in lacking],
        diff={
            "before": {"lacking": [str(pin) for pin in chosen if wheel_of(pin, before) is None]},
            "after": {"lacking": []},
        },
    )


if __name__ == "__main__":
    main()
