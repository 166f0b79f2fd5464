#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: images in the containerd of a Kind cluster's nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kind_images
short_description: Load images into the nodes of a Kind cluster
version_added: 0.1.0
description:
  - Brings archives of images to those nodes of a Kind cluster that do not have them yet.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  name:
    description: The cluster's name.
    type: str
    required: true
  bundle:
    description: Folder on this host with the images and a bundle's C(manifest.json).
    type: path
    required: true
  images:
    description: References of the images that are wanted; empty for all that are in O(bundle).
    type: list
    elements: str
    default: []
  kind:
    description: Path of the program.
    type: path
    required: true
  engine:
    description: Program of the container engine. V(auto) takes the first that answers.
    type: str
    default: auto
    choices: [auto, docker, podman, nerdctl]
  environment:
    description: Environment of kind and the container engine, such as C(DOCKER_HOST).
    type: dict
    default: {}
  timeout:
    description: Seconds that loading one image may take.
    type: float
    default: 900
  progress:
    description: How progress is shown. V(auto) refreshes one line on a terminal, else a line comes every few seconds.
    type: str
    default: auto
    choices: [auto, lines, none]
  progress_path:
    description: Used by the action plugin. File on this host in which the module says how far it is.
    type: path
attributes:
  check_mode:
    description: Tells which nodes would be given which images.
    support: full
  diff_mode:
    description: Shows digests by node before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Load the trainer's image
  dtf.cluster.kind_images:
    name: dtf
    kind: /usr/local/bin/kind
    bundle: /srv/image/bundle
"""

RETURN = r"""
loaded:
  description: Names of the nodes that were given something, by the image's reference.
  returned: success
  type: dict
  sample: {"dtf.cluster/trainer:1": [dtf-worker]}
stages:
  description: What took how long (seconds), in order; empty where nothing was done.
  returned: success
  type: list
  elements: dict
  sample: [{name: "dtf.cluster/trainer:1", seconds: 18.3}]
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.kind_host import KindHost, find_engine
from ..module_utils.kind_stages import Stages, told_in


def wanted(bundle: Path, references: list[str]) -> dict[str, dict[str, str]]:
    """Return reference → artifact of the images in a bundle that are asked for."""
    path = bundle / "manifest.json"
    try:
        artifacts = json.loads(path.read_text(encoding="utf-8"))["artifacts"]
        there = {artifact["reference"]: artifact for artifact in artifacts if artifact["kind"] == "image"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = Problem("bundle", str(bundle), f"a folder with a bundle's manifest.json ({error})")
        raise InvalidInput("images of a Kind cluster", [problem]) from error
    accepted = "an image of the bundle: " + (", ".join(sorted(there)) or "it has none")
    unknown = [Problem("images", reference, accepted) for reference in references if reference not in there]
    if unknown:
        raise InvalidInput("images of a Kind cluster", unknown)
    return {reference: there[reference] for reference in references or there}


def lacking(host: KindHost, images: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return reference → node → the digest that it has in place of the wanted one, for nodes that lack something."""
    nodes = host.nodes()
    resting = sorted(name for name, runs in nodes.items() if not runs)
    if not nodes or resting:
        what = f"{', '.join(resting)} does not run" if resting else "there is none"
        raise ActionFailed("no_cluster", f"Kind cluster {host.name} takes no images: {what}")
    there = {node: host.images(node) for node in sorted(nodes)}
    found = {
        reference: {
            node: known.get(reference, "") for node, known in there.items() if known.get(reference) != image["digest"]
        }
        for reference, image in images.items()
    }
    return {reference: where for reference, where in found.items() if where}


def main() -> None:
    """Look, load what is lacking, look again."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "bundle": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "kind": {"type": "path", "required": True},
            "engine": {"type": "str", "default": "auto", "choices": ["auto", "docker", "podman", "nerdctl"]},
            "environment": {"type": "dict", "default": {}},
            "timeout": {"type": "float", "default": 900},
            "progress": {"type": "str", "default": "auto", "choices": ["auto", "lines", "none"]},
            "progress_path": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    bundle, stages = Path(options["bundle"]), Stages(told_in(options["progress_path"]))
    try:
        images = wanted(bundle, options["images"])
        engine = find_engine(options["engine"], options["environment"])
        # Only where a cluster is made are its credentials written.
        nowhere = Path("/nonexistent/none")
        host = KindHost(options["name"], options["kind"], engine, options["environment"], nowhere, stages)
        if module.check_mode and not host.nodes():
            # One that would be made has nothing yet.
            missing = {reference: {host.first: ""} for reference in images}
        else:
            missing = lacking(host, images)
        if not module.check_mode:
            for reference, where in missing.items():
                stages.begin(f"Loading {reference}")
                host.load(bundle / images[reference]["path"], sorted(where), options["timeout"])
            stages.end()
            left = lacking(host, images) if missing else {}
            if left:
                told = "; ".join(f"{reference} on {', '.join(sorted(where))}" for reference, where in left.items())
                raise ActionFailed("not_loaded", f"kind loaded images that nodes do not show: {told}")
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(
        changed=bool(missing),
        loaded={reference: sorted(where) for reference, where in missing.items()},
        stages=stages.taken(),
        diff={
            "before": missing,
            "after": {
                reference: dict.fromkeys(where, images[reference]["digest"]) for reference, where in missing.items()
            },
        },
    )


if __name__ == "__main__":
    main()
