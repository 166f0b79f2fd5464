# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels and taints of nodes: wanted and live → what to merge into which node.

What was set here once and is wanted no longer must go, and what others set must stay. So each node carries, in one
annotation for each that marks nodes, the names of the marks that are its.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

#: ``{"labels": [name…], "taints": ["key:effect"…]}``
OURS = "dtf.cluster/marks"
#: The same, of what is said of a node's GPUs.
GPUS = "dtf.cluster/gpu-marks"
#: What kubeadm gives a control plane; an explicit list of taints stands in its place.
KUBEADMS = "node-role.kubernetes.io/control-plane:NoSchedule"


def patches(
    wanted: Mapping[str, Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]], record: str = OURS
) -> dict[str, dict[str, Any]]:
    """Return node to merge patch, only for nodes that differ.

    Args:
        wanted: node to ``{labels: {name: value}, taints: [{key, value, effect}] | None}``; taints that are ``None``
            are left as kubeadm made them.
        nodes: the nodes as the API returns them.
        record: annotation with the names of the marks.
    """
    found = {}
    for node in nodes:
        name = node["metadata"]["name"]
        if name in wanted:
            patch = _patch(wanted[name], node, record)
            if patch:
                found[name] = patch
    return found


def _patch(wanted: Mapping[str, Any], node: Mapping[str, Any], record: str) -> dict[str, Any]:
    metadata = node["metadata"]
    remembered = json.loads(metadata.get("annotations", {}).get(record, "{}"))
    labels = {name: str(value) for name, value in (wanted.get("labels") or {}).items()}
    live_labels = metadata.get("labels", {})
    change: dict[str, str | None] = {name: value for name, value in labels.items() if live_labels.get(name) != value}
    change.update({name: None for name in remembered.get("labels", []) if name not in labels and name in live_labels})
    patch: dict[str, Any] = {"metadata": {"labels": change}} if change else {}
    ours = {"labels": sorted(labels)} if labels else {}
    if wanted.get("taints") is not None:
        taints = [_taint(taint) for taint in wanted["taints"]]
        ours["taints"] = sorted(_key(taint) for taint in taints)
        live = [_taint(taint) for taint in node.get("spec", {}).get("taints", [])]
        gone = {*remembered.get("taints", []), *ours["taints"], KUBEADMS}
        after = [taint for taint in live if _key(taint) not in gone] + taints
        if sorted(after, key=_key) != sorted(live, key=_key):
            patch["spec"] = {"taints": after or None}
    elif "taints" in remembered:
        ours["taints"] = remembered["taints"]
    if ours != remembered:
        value = json.dumps(ours, sort_keys=True) if ours else None
        patch.setdefault("metadata", {})["annotations"] = {record: value}
    return patch


def _taint(taint: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(taint[name]) for name in ("key", "value", "effect") if taint.get(name)}


def _key(taint: Mapping[str, str]) -> str:
    return "{}:{}".format(taint["key"], taint.get("effect", ""))
