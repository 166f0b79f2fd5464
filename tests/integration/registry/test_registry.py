"""A registry from nothing to nothing, in the order in which a site would go through it."""

from __future__ import annotations

import json
import shlex
import ssl
import tarfile
import time
import urllib.error
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.certificate_files import make_authority, read_pair, write_pair
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.image_layout import Store
from ansible_collections.dtf.cluster.plugins.module_utils.image_push import Registry

from .conftest import PASSWORD, ROOT

if TYPE_CHECKING:
    from .conftest import Site

BUSYBOX = ROOT / "build" / "bundle" / "images" / "busybox.tar"
REPOSITORY = "dtf.cluster/busybox"


def unpacked(archive: Path, folder: Path) -> tuple[Store, dict[str, Any]]:
    """Return an image of the bundle as what is pushed."""
    with tarfile.open(archive) as content:
        content.extractall(folder)
    store = Store(folder / "store")
    store.folder.mkdir()
    (store.folder / "blobs").symlink_to(folder / "blobs" / "sha256")
    manifest = json.loads((folder / "index.json").read_text(encoding="utf-8"))["manifests"][0]
    return store, {**json.loads(store.blob(manifest["digest"]).read_text(encoding="utf-8")), "manifest": manifest}


def wait_until_it_answers(site: Site) -> None:
    """Return when the registry answers, and fail when it does not in half a minute."""
    for _second in range(30):
        try:
            site.ask(ca=site.ca)
        except OSError:
            time.sleep(1)
        else:
            return
    pytest.fail(site.on("cp1", "journalctl -u dtf-registry -n 20 --no-pager"))


def test_check_mode_makes_nothing(site: Site, untouched: str) -> None:
    played = site.run("--check", "--diff")
    assert played.changed["cp1"] > 4
    assert site.snapshot("cp1") == untouched
    assert not site.secrets.exists()


def test_what_is_wrong_is_said_at_once_and_no_password_is_told(site: Site, untouched: str) -> None:
    users = {"a:b": PASSWORD, "trainer": 7}
    played = site.play(registry_port=70000, registry_storage_dir="images", registry_users=users)
    assert played.code != 0
    for wrong in ("port: 70000", "storage: 'images'", "users: 'a:b'", "users.trainer: '(hidden)'"):
        assert wrong in played.printed
    assert PASSWORD not in played.printed
    assert played.changed == {"cp1": 0}
    assert site.snapshot("cp1") == untouched


def test_it_runs_and_tells_no_secret(site: Site) -> None:
    first = site.run("--diff", "-vvv")
    assert "PRIVATE KEY" not in first.printed
    assert "$2b$" not in first.printed
    # The command line that gave it is printed by -vvv; no task may say it again.
    tasks = first.printed.partition("PLAY [")[2]
    assert PASSWORD not in tasks
    assert site.run().changed == {"cp1": 0}
    assert {path.stat().st_mode & 0o777 for path in site.secrets.glob("*.key")} == {0o600}
    modes = site.on("cp1", "stat -c '%U %a' /etc/dtf-registry/tls.key /etc/dtf-registry/htpasswd").split("\n")
    assert modes[:2] == ["root 600", "root 600"]
    assert site.on("cp1", "ps -o user= -p $(systemctl show -P MainPID dtf-registry)").strip() == "dtf-registry"


def test_it_answers_those_who_trust_it_and_whom_it_knows(site: Site) -> None:
    assert site.ask(ca=site.ca, password=PASSWORD) == 200
    assert site.ask(ca=site.ca) == 401
    assert site.ask(ca=site.ca, password="another") == 401
    assert site.ask(ca=site.ca, password=PASSWORD, name="stranger") == 401
    with pytest.raises(urllib.error.URLError) as refused:
        site.ask(password=PASSWORD)
    assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)


def test_a_node_pulls_what_the_controller_pushed(site: Site, tmp_path: Path) -> None:
    store, record = unpacked(BUSYBOX, tmp_path)
    stranger = Registry(site.registry, str(site.ca), username="trainer", password="another")
    with pytest.raises(ActionFailed, match="does not let us in as trainer"):
        stranger.push(store, record, REPOSITORY, "1")
    registry = Registry(site.registry, str(site.ca), username="trainer", password=PASSWORD)
    assert registry.push(store, record, REPOSITORY, "1")
    assert registry.push(store, record, REPOSITORY, "1") == []
    assert registry.has(REPOSITORY, record["manifest"]["digest"], "1")

    playbook = tmp_path / "containerd.yml"
    play = {"hosts": "w1", "gather_facts": False, "roles": ["dtf.cluster.containerd"]}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    played = site.play(playbook=str(playbook))
    assert played.code == 0, played.printed[-4000:]
    user = shlex.quote(f"trainer:{PASSWORD}")
    reference = f"{site.registry}/{REPOSITORY}:1"
    pull = f"ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d --user {user} {reference}"
    site.on("w1", pull)
    listed = site.on("w1", f"ctr -n k8s.io images ls name=={reference}")
    assert record["manifest"]["digest"] in listed
    site.on("w1", f"mv /etc/containerd/certs.d/{site.registry} /var/tmp/trust")
    refused = site.on("w1", f"{pull} 2>&1 || true")
    assert "certificate signed by unknown authority" in refused


def test_it_comes_back_when_it_is_killed(site: Site) -> None:
    before = site.on("cp1", "systemctl show -P MainPID dtf-registry").strip()
    site.on("cp1", f"kill -9 {before}")
    wait_until_it_answers(site)
    assert site.on("cp1", "systemctl show -P MainPID dtf-registry").strip() not in {before, "0"}
    assert site.ask(ca=site.ca, password=PASSWORD) == 200


def test_another_name_and_another_password_are_all_that_changes(site: Site) -> None:
    before, authority = (site.secrets / "cp1.crt").read_text(), site.ca.read_text()
    names = ["registry.bank.example"]
    played = site.run(registry_names=names, registry_users={"trainer": "another"})
    assert played.changed["cp1"] == 4  # certificate, its copy, passwords, restart
    assert (site.secrets / "cp1.crt").read_text() != before
    assert site.ca.read_text() == authority
    served = site.on(
        "cp1", "openssl s_client -connect 127.0.0.1:5000 </dev/null 2>/dev/null | openssl x509 -noout -text"
    )
    assert "DNS:registry.bank.example" in served
    assert site.ask(ca=site.ca, password="another") == 200
    assert site.ask(ca=site.ca, password=PASSWORD) == 401


def test_the_sites_authority_signs(site: Site, tmp_path: Path) -> None:
    ca, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    write_pair(make_authority("a bank", datetime.now(UTC), 900), ca, key)
    tls = {"ca": str(ca), "ca_key": str(key)}
    assert "it is not" not in site.run(registry_tls=tls).printed
    assert site.ask(ca=ca, password=PASSWORD) == 200
    assert site.ca.read_text() == ca.read_text()
    # The site's own certificate, taken as it is.
    own = {"certificate": str(site.secrets / "cp1.crt"), "key": str(site.secrets / "cp1.key"), "ca": str(ca)}
    assert site.run(registry_tls=own).changed == {"cp1": 0}


def test_one_that_does_not_answer_says_why(site: Site) -> None:
    configuration = {"storage": {"filesystem": None, "floppy": {}}}
    played = site.play(registry_configuration=configuration, registry_timeout_seconds=2)
    assert played.code != 0
    assert "did not answer within 2 s" in played.printed
    assert "floppy" in played.printed.rpartition("Its last lines")[2]


def test_it_is_taken_back(site: Site, untouched: str) -> None:
    site.run(registry_state="absent")
    assert site.on("cp1", "stat -c %U /var/lib/dtf-registry/docker").strip() == "dtf-registry"
    assert read_pair(site.secrets / "ca.crt", site.secrets / "ca.key") is None
    looked = site.run("--check", "--diff", registry_state="absent", registry_remove_data=True)
    assert looked.changed["cp1"] > 0
    site.run("--diff", registry_state="absent", registry_remove_data=True)
    assert site.run(registry_state="absent", registry_remove_data=True).changed == {"cp1": 0}
    assert site.snapshot("cp1") == untouched
    assert not site.secrets.exists()
