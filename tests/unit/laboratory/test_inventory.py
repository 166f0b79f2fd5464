"""The inventory says what the machine below makes necessary, and reaches hosts without a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from laboratory import inventory, store
from laboratory.spec import LabSpec

SETTINGS = Path(__file__).resolve().parents[3] / "inventories" / "lab" / "group_vars"


def document(**options: Any) -> Any:
    """Return the inventory of a lab on a usual machine."""
    spec = LabSpec(**options)
    machine = inventory.machine_variables(2, [])
    return inventory.document(spec, spec.members(), checkout="/c", folder="/f", machine=machine)


def test_every_host_is_in_the_lab_and_in_one_group_more() -> None:
    groups = document(hosts=3)["all"]["children"]
    assert groups["lab"]["hosts"]["w2"] == {"ansible_host": "172.30.0.13"}
    assert list(groups["kube_control_plane"]["hosts"]) == ["cp1"]
    assert list(groups["kube_node"]["hosts"]) == ["w1", "w2"]
    assert list(groups["registry"]["hosts"]) == ["cp1"]


def test_the_ranges_are_those_that_were_kept_in() -> None:
    variables = document(pod_cidr="10.7.0.0/16")["all"]["vars"]
    assert variables["dtf_pod_cidr"] == "10.7.0.0/16"
    assert variables["dtf_service_cidr"] == LabSpec().service_cidr


@pytest.mark.parametrize(
    ("version", "lacking", "variables"),
    [
        (2, [], {"dtf_lab_kubelet_configuration": {}}),
        (
            1,
            [],
            {
                "dtf_lab_kubelet_configuration": {"cgroupDriver": "cgroupfs", "failCgroupV1": False},
                "containerd_systemd_cgroup": False,
            },
        ),
        (
            2,
            ["SYS_RESOURCE"],
            {
                "dtf_lab_kubelet_configuration": {"featureGates": {"KubeletInUserNamespace": True}},
                "containerd_restrict_oom_score_adj": True,
            },
        ),
    ],
)
def test_a_usual_machine_needs_nothing_said(version: int, lacking: list[str], variables: dict[str, Any]) -> None:
    assert inventory.machine_variables(version, lacking) == variables


def test_ssh_knows_its_hosts_and_asks_nothing() -> None:
    options = inventory.ssh_options("/f")
    assert "UserKnownHostsFile=/f/known_hosts" in options
    assert {"StrictHostKeyChecking=yes", "BatchMode=yes", "ControlMaster=auto"} <= set(options)


def test_an_inventory_is_written_and_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "inventory"
    store.write_inventory(folder, "# who wrote it\n", document(), SETTINGS)
    assert yaml.safe_load((folder / "hosts.yml").read_text(encoding="utf-8")) == document()
    assert (folder / "group_vars" / "all.yml").read_text(encoding="utf-8") == (SETTINGS / "all.yml").read_text(
        encoding="utf-8"
    )
    store.remove_inventory(folder)
    assert not folder.exists()


def test_what_others_keep_beside_an_inventory_stays(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("---\n{}\n", encoding="utf-8")
    store.write_inventory(tmp_path, "", document(), SETTINGS)
    store.remove_inventory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["group_vars"]
    assert not (tmp_path / "group_vars").is_symlink()
