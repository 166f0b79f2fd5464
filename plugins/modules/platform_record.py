#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: add to a run document what the cluster took of its machines meanwhile."""

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_record
short_description: Write what a cluster took of its machines into a run document
version_added: 0.1.0
description:
  - Makes the difference of two readings of M(dtf.cluster.platform_usage) and writes it into a run document as
    C(platform), beside what the trainer's own tasks took. Run it on the controller.
  - Hosts of which the document tells no C(load_before), as of pods, get the one of O(before).
  - Where nothing could be read C(platform) is null and C(platform_notes) says why. That is no failure.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Returns the same, and writes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  results_dir:
    description: Directory of the benchmark's results.
    type: path
    required: true
  run_id:
    description: The run, whose document is there.
    type: str
    required: true
  before:
    description: Readings from before the run.
    type: list
    elements: dict
    required: true
  after:
    description: Readings from after it.
    type: list
    elements: dict
    required: true
  notes:
    description: What was to be said of the readings.
    type: list
    elements: str
    default: []
seealso:
  - module: dtf.cluster.platform_usage
"""

EXAMPLES = r"""
- name: Record what the cluster took
  dtf.cluster.platform_record:
    results_dir: results/sweep
    run_id: "{{ trained.run.run_id }}"
    before: "{{ before.readings }}"
    after: "{{ after.readings }}"
  delegate_to: localhost
"""

RETURN = r"""
platform:
  description: What was written; C(null) where nothing could be read.
  returned: success
  type: dict
  sample:
    source: cgroup
    seconds: 14.2
    parts: [{host: w1, part: kubelet, cpu_seconds: 0.31, memory_bytes: 40579072}]
notes:
  description: What is to be said of it.
  returned: success
  type: list
  elements: str
  sample: []
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: no_run, message: there is no run document}
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark_directory import read_text, write_text
from ..module_utils.platform_usage import Reading, platform, with_loads


def main() -> None:
    """Read the document, make the difference, write."""
    module = AnsibleModule(
        argument_spec={
            "results_dir": {"type": "path", "required": True},
            "run_id": {"type": "str", "required": True},
            "before": {"type": "list", "elements": "dict", "required": True},
            "after": {"type": "list", "elements": "dict", "required": True},
            "notes": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["results_dir"]) / module.params["run_id"] / "run.json"
    text = read_text(path)
    if text is None:
        message = f"there is no run document {path}"
        module.fail_json(msg=message, failure={"code": "no_run", "message": message})
        return
    document = json.loads(text)
    before, after = ([Reading.from_dict(each) for each in module.params[name]] for name in ("before", "after"))
    found, notes = platform(before, after, document)
    said = list(dict.fromkeys([*module.params["notes"], *notes]))
    place = {**document["environment"], "hosts": with_loads(document["environment"]["hosts"], before)}
    wanted = {**document, "environment": place, "platform": found, "platform_notes": said}
    changed = wanted != document
    if changed and not module.check_mode:
        write_text(path, json.dumps(wanted, indent=2) + "\n")
    module.exit_json(changed=changed, platform=found, notes=said)


if __name__ == "__main__":
    main()
