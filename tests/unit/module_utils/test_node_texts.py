"""Texts of a host in, judgements and texts out: kernel, packages, packet filter, kubeadm's words, what a host is."""

from __future__ import annotations

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import kernel_settings as kernel
from ansible_collections.dtf.cluster.plugins.module_utils import packet_filter
from ansible_collections.dtf.cluster.plugins.module_utils.kubeadm_output import causes, kubelet_errors, redacted
from ansible_collections.dtf.cluster.plugins.module_utils.node_view import kubernetes_state, os_names, os_release
from ansible_collections.dtf.cluster.plugins.module_utils.package_lists import installed, wanted

FSTAB = """# /etc/fstab
UUID=1 / ext4 defaults 0 1
UUID=2 none swap sw 0 0
/swapfile swap swap defaults 0 0
#UUID=3 none swap sw 0 0
"""


def test_a_module_is_there_loaded_built_in_or_known_to_sys() -> None:
    missing = kernel.missing_modules(
        ["overlay", "br_netfilter", "nf-conntrack", "vxlan", "zram"],
        "overlay 151552 2 - Live 0x0\n",
        "kernel/net/netfilter/nf_conntrack.ko\nkernel/drivers/net/vxlan.ko.xz\n",
        ["br_netfilter"],
    )
    assert missing == ["zram"]


def test_swap_is_put_aside_and_comes_back_as_it_was() -> None:
    aside = kernel.without_swap(FSTAB)
    assert [line for line in aside.splitlines() if " swap " in line and not line.startswith("#")] == []
    assert "UUID=1 / ext4" in aside
    assert kernel.without_swap(aside) == aside
    assert kernel.with_swap(aside) == FSTAB


def test_swaps_are_read_from_the_kernels_table() -> None:
    table = "Filename\t\t\t\tType\t\tSize\n/dev/sda2                               partition\t999\n/swapfile file 1\n"
    assert kernel.active_swaps(table) == ["/dev/sda2", "/swapfile"]
    assert kernel.active_swaps("Filename Type\n") == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.100/proxy_arp", "/proc/sys/net/ipv4/conf/eth0.100/proxy_arp"),
    ],
)
def test_a_setting_lies_where_sysctl_looks(name: str, path: str) -> None:
    assert kernel.sysctl_path(name) == path


def test_numbers_are_compared_and_not_their_spaces() -> None:
    live = {"a": "1\t2 3", "b": "0", "c": None}
    assert kernel.differing({"a": "1 2 3", "b": "1", "c": "1"}, live) == {"b": "1", "c": "1"}


def test_nothing_wanted_is_no_file() -> None:
    assert kernel.modules_file([]) == kernel.sysctl_file({}) == ""
    assert kernel.sysctl_file({"b": "2", "a": "1"}).endswith("a = 1\nb = 2\n")


RULES = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -j CNI-HOSTPORT-DNAT
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -j ACCEPT
-A DOCKER -i docker0 -j RETURN
COMMIT
"""


def test_the_packet_filter_loses_ours_and_nothing_else() -> None:
    assert packet_filter.without_kubernetes(RULES) == (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n"
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A DOCKER -i docker0 -j RETURN\nCOMMIT\n"
    )


def test_rules_without_ours_stay_to_the_letter() -> None:
    theirs = '*filter\n:INPUT DROP [1:2]\n-A INPUT -m comment --comment "-j KUBE-SERVICES" -j ACCEPT\nCOMMIT\n'
    assert packet_filter.without_kubernetes(theirs) == theirs


def test_our_tables_are_told_from_others() -> None:
    listing = "table ip nat\ntable ip kube-proxy\ntable ip6 kube-proxy\ntable ip dtf-cluster\ntable inet kube-proxy-x\n"
    assert packet_filter.nft_tables(listing) == [("ip", "kube-proxy"), ("ip6", "kube-proxy"), ("ip", "dtf-cluster")]


def test_no_secret_is_told() -> None:
    text = f"kubeadm join --token abcdef.0123456789abcdef --certificate-key {'a' * 64} sha256:{'b' * 64}"
    assert redacted(text) == f"kubeadm join --token <token> --certificate-key <key> sha256:{'b' * 64}"


def test_kubeadms_own_checks_are_told_one_by_one() -> None:
    output = (
        "[preflight] Running\nerror execution phase preflight: [preflight] Some fatal errors occurred:\n"
        "\t[ERROR Port-6443]: Port 6443 is in use\n\t[ERROR Swap]: running with swap on\n"
    )
    assert causes("kubeadm init", 1, output, "").splitlines() == [
        "kubeadm init: 2 of kubeadm's own checks failed on this host:",
        "  - Port-6443: Port 6443 is in use",
        "  - Swap: running with swap on",
    ]


def test_what_the_kubelet_said_stands_beside_kubeadms_error() -> None:
    told = causes("kubeadm join", 1, "error: timed out", "I0 fine\nE0101 failed to run Kubelet: no cgroup\n")
    assert "timed out" in told
    assert "no cgroup" in told
    assert "fine" not in told


def test_a_kubelets_errors_are_told_once_each_and_without_what_says_nothing() -> None:
    journal = (
        'E1123 09:41:27.971369     781 kubelet.go:3516] "No sandbox" err="runc: not found"\n'
        'E1123 09:41:28.071288     781 kubelet.go:3516] "No mirror pod" err="node \\"cp1\\" not found"\n'
        'E1123 09:41:28.171749     781 kubelet.go:3516] "No sandbox" err="runc: not found"\n'
        'E1123 09:41:29.000000     781 log.go:1] "Get https://10.0.0.1:6443 error: connection refused"\n'
        "I1123 09:41:29.000000     781 all is well\n"
    )
    assert kubelet_errors(journal) == ['"No sandbox" err="runc: not found"']


@pytest.mark.parametrize(
    ("marker", "kubelet_conf", "manifests", "state"),
    [
        ({}, False, False, "none"),
        ({}, True, False, "foreign"),
        ({}, False, True, "foreign"),
        ({"state": "begun"}, False, False, "partial"),
        ({"state": "begun"}, True, True, "partial"),
        ({"state": "done"}, True, False, "member"),
        ({"state": "done"}, False, False, "partial"),
    ],
)
def test_what_a_host_is_to_a_cluster(
    marker: dict[str, object], kubelet_conf: bool, manifests: bool, state: str
) -> None:
    assert kubernetes_state(marker, kubelet_conf=kubelet_conf, manifests=manifests) == state


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('ID=debian\nVERSION_ID="12"\n', ["Debian-12", "Debian"]),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', ["Ubuntu-24.04", "Ubuntu", "Debian"]),
        ('ID="rocky"\nID_LIKE="rhel centos"\nVERSION_ID="9.4"\n', ["Rocky-9.4", "Rocky", "Rhel", "Centos"]),
        ("# none\n", []),
    ],
)  # fmt: skip
def test_a_systems_variables_are_looked_for_from_the_exact_to_the_alike(text: str, names: list[str]) -> None:
    assert os_names(os_release(text)) == names


def test_a_removed_package_is_not_installed() -> None:
    assert installed("a installed\nb config-files\nc not-installed\n\n") == {"a"}


def test_a_package_of_two_programs_is_installed_once() -> None:
    assert wanted({"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}, ["ip", "tc"]) == ["iproute2"]
