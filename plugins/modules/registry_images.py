#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: images of the bundle in a registry of the site."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_images
short_description: Bring images of the bundle to a registry
version_added: 0.1.0
description:
  - Pushes images of the bundle to a registry, layer by layer and only what it lacks. A manifest is sent byte for byte,
    so that the image has the digest that it has upstream for the bundle's architecture.
  - Needs no container engine.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  bundle:
    description: Folder of the bundle, with its C(manifest.json).
    type: path
    required: true
  images:
    description:
      - Image of the bundle by its full name with the tag, and the repository with the tag that it has in the registry,
        without the registry's own name.
    type: dict
    required: true
  registry:
    description: The registry.
    type: dict
    required: true
    suboptions:
      host:
        description: Its C(host) or C(host:port).
        type: str
        required: true
      ca:
        description: File with the certificate authorities that it is trusted by. Without it, the system's.
        type: path
      plain:
        description: Whether it speaks HTTP without TLS.
        type: bool
        default: false
      username:
        description: Name to push with.
        type: str
        default: ""
      password:
        description: Password to push with.
        type: str
        default: ""
attributes:
  check_mode:
    description: Asks the registry which images it lacks, and sends none.
    support: full
  diff_mode:
    description: Shows the names that the registry gets.
    support: full
"""

EXAMPLES = r"""
- name: Mirror an image
  dtf.cluster.registry_images:
    bundle: /srv/bundle
    images:
      nvcr.io/nvidia/k8s-device-plugin:v0.20.0: nvidia/k8s-device-plugin:v0.20.0
    registry: {host: "registry.example:5000", ca: /etc/ssl/site-ca.pem}
"""

RETURN = r"""
pushed:
  description: What the registry lacked and was sent, or in check mode would be, by its name there.
  returned: success
  type: list
  elements: str
  sample: ["registry.example:5000/nvidia/k8s-device-plugin:v0.20.0"]
references:
  description: Image of the bundle to its name in the registry, with the digest.
  returned: success
  type: dict
  sample:
    nvcr.io/nvidia/k8s-device-plugin:v0.20.0: registry.example:5000/nvidia/k8s-device-plugin:v0.20.0@sha256:5f9e…
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: registry_refused, message: registry registry.example:5000 does not let us in, details: {}}
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import image_archive
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.image_plan import is_registry, is_repository, is_tag
from ..module_utils.image_push import Registry


def archives(bundle: Path) -> dict[str, Path]:
    """Return full name → file, of the images that a bundle has."""
    manifest = bundle / "manifest.json"
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["artifacts"]
        return {entry["reference"]: bundle / entry["path"] for entry in entries if entry["kind"] == "image"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        accepted = f"a folder with the manifest.json of a bundle ({error})"
        raise InvalidInput("registry_images", [Problem("bundle", str(bundle), accepted)]) from error


def problems(params: dict[str, Any], there: dict[str, Path]) -> list[Problem]:
    """Return everything that is wrong with the arguments."""
    found = []
    if not is_registry(params["registry"]["host"]):
        found.append(Problem("registry.host", params["registry"]["host"], "host or host:port"))
    ca = params["registry"]["ca"]
    if ca and not Path(ca).is_file():
        found.append(Problem("registry.ca", ca, "a file with certificates in PEM"))
    for source, target in params["images"].items():
        repository, _colon, tag = str(target).rpartition(":")
        if not (is_repository(repository) and is_tag(tag)):
            found.append(Problem(f"images[{source}]", target, "repository:tag, without the registry's own name"))
        if source not in there:
            accepted = "an image of the bundle: fetch it first, it has {}".format(", ".join(sorted(there)) or "none")
            found.append(Problem("images", source, accepted))
    return found


def main() -> None:
    """Look what the registry lacks, and send it."""
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "path", "required": True},
            "images": {"type": "dict", "required": True},
            "registry": {
                "type": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "ca": {"type": "path"},
                    "plain": {"type": "bool", "default": False},
                    "username": {"type": "str", "default": ""},
                    "password": {"type": "str", "default": "", "no_log": True},
                },
            },
        },
        supports_check_mode=True,
    )
    given = module.params["registry"]
    pushed, references = [], {}
    try:
        there = archives(Path(module.params["bundle"]))
        wrong = problems(module.params, there)
        if wrong:
            raise InvalidInput("registry_images", wrong)
        registry = Registry(given["host"], given["ca"] or "", given["plain"], given["username"], given["password"])
        for source, target in sorted(module.params["images"].items()):
            repository, _colon, tag = target.rpartition(":")
            with image_archive.opened(there[source]) as image:
                if not registry.has(repository, image.digest, tag, image.media_type):
                    pushed.append(f"{registry.host}/{target}")
                    if not module.check_mode:
                        registry.bring(image, repository, tag)
                references[source] = f"{registry.host}/{target}@{image.digest}"
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    lines = "".join(f"{name}\n" for name in pushed)
    module.exit_json(changed=bool(pushed), pushed=pushed, references=references, diff={"before": "", "after": lines})


if __name__ == "__main__":
    main()
