"""A list of images as a lock: what it says is a lock that the bundle takes."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.filter.gpu_operator_lock import gpu_operator_lock
from ansible_collections.dtf.cluster.plugins.module_utils.bundle import read_lock
from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.image_lock import lock

IMAGES = ["nvcr.io/nvidia/k8s/toolkit:v1.20.0", "nvcr.io/nvidia/driver:580-debian12", "nvcr.io/nvidia/k8s/toolkit:v2"]
DIGEST = "sha256:" + "5" * 64


def test_the_bundle_reads_it_and_finds_each_image_once() -> None:
    read = read_lock(lock([*IMAGES, IMAGES[0]], {}), "amd64")
    assert [entry.reference for entry in read.entries] == sorted(IMAGES)
    assert not any(entry.digest for entry in read.entries)


def test_a_digest_that_was_learnt_stays_until_the_tag_changes() -> None:
    before = lock(IMAGES, {})
    for entry in before["artifacts"]:
        entry["digest"] = DIGEST
    after = lock([IMAGES[0], "nvcr.io/nvidia/driver:590-debian12"], before)
    assert [entry.get("digest") for entry in after["artifacts"]] == [None, DIGEST]


def test_its_text_is_one_that_it_learns_from() -> None:
    images = [{"source": name} for name in IMAGES]
    text = gpu_operator_lock(images)
    assert gpu_operator_lock(images, text) == text
    pinned = yaml.safe_load(text)
    pinned["artifacts"][0]["digest"] = DIGEST
    other_hand = "# somebody's\n" + yaml.safe_dump(pinned)
    assert gpu_operator_lock(images, other_hand) == other_hand
    assert DIGEST in gpu_operator_lock(images[1:], other_hand)


def test_names_that_a_bundle_cannot_have_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as raised:
        lock(["nvidia/driver:1", f"nvcr.io/nvidia/driver@{DIGEST}", "nvcr.io/nvidia/driver", *IMAGES], {})
    assert [problem.value for problem in raised.value.problems] == [
        "nvcr.io/nvidia/driver",
        f"nvcr.io/nvidia/driver@{DIGEST}",
        "nvidia/driver:1",
    ]
