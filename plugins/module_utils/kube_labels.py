# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The labels and annotations by which a topology's objects are found, and what is remembered in them.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import re

APP = "dtf-topology"
MANAGER = "dtf.cluster"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_RUN_ID = "dtf.cluster/run-id"

ANNOTATION_SPEC = "dtf.cluster/spec"
ANNOTATION_RUN = "dtf.cluster/run"
ANNOTATION_OUTCOME = "dtf.cluster/outcome"
ANNOTATION_SPEC_HASH = "dtf.cluster/spec-hash"
ANNOTATION_HOSTS_HASH = "dtf.cluster/hosts-hash"


def selecting_labels(name: str, component: str = "") -> dict[str, str]:
    """Return the labels that only the objects of one topology have, or only those of one of its parts."""
    found = {LABEL_NAME: APP, LABEL_INSTANCE: name}
    return {**found, LABEL_COMPONENT: component} if component else found


def label_selector(name: str) -> str:
    """Return the selector of all objects of a topology, as a LIST takes it."""
    return ",".join(f"{key}={value}" for key, value in selecting_labels(name).items())


def label_value(text: str) -> str:
    """Return a text as the value of a label: what a label cannot hold becomes a hyphen."""
    value = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-_.")[:63].strip("-_.")
    return value or "owner-" + hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]
