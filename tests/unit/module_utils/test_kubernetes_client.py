"""The client against a real server of HTTP, small and scripted: what is asked, how often, and what answers mean."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.dtf.cluster.plugins.module_utils import kubernetes_client
from ansible_collections.dtf.cluster.plugins.module_utils.certificate_files import (
    Pair,
    make_authority,
    make_server,
    pem,
    write_pair,
)
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import PodRun
from ansible_collections.dtf.cluster.plugins.module_utils.kube_errors import Gone
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster, path
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import KINDS, objects
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from tests.fixtures.own_clock import replace_sleep

RECORDED = Path(__file__).parents[2] / "fixtures" / "kubernetes_api"
Answer = tuple[int, bytes | list[bytes]]


class Server(ThreadingHTTPServer):
    """Answers with what a test says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]], Any, dict[str, list[str]]]] = []
        self.go_on = threading.Event()

    def say(self, place: str, *answers: Answer | dict[str, Any]) -> None:
        """Answer requests to a place in turn; the last answer stays."""
        self.answers[place] = [(200, json.dumps(said).encode()) if isinstance(said, dict) else said for said in answers]

    def be(self, recorded: str) -> None:
        for place, name in (("/apis", "apis"), ("/version", "version")):
            self.say(place, json.loads((RECORDED / f"{recorded}-{name}.json").read_text(encoding="utf-8")))


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): self.headers.get_all(name) or [] for name in self.headers}
        self.server.asked.append(
            (self.command, parts.path, parse_qs(parts.query), json.loads(body) if body else None, headers)
        )
        answers = self.server.answers.get(parts.path, [(404, b'{"kind": "Status", "message": "not found"}')])
        status, said = answers.pop(0) if len(answers) > 1 else answers[0]
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        if isinstance(said, bytes):
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in said:
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                continue
            # An empty piece: wait for the test, or break off.
            self.wfile.flush()
            if not self.server.go_on.wait(20):
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_PATCH = do_DELETE = answer  # noqa: N815 - the names are the base class's

    def log_message(self, *_arguments: object) -> None:
        """Tests read what was asked elsewhere."""


@pytest.fixture
def server() -> Iterator[Server]:
    own = Server()
    thread = threading.Thread(target=own.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield own
    own.go_on.set()
    own.shutdown()
    own.server_close()
    thread.join()


@pytest.fixture
def cluster(server: Server, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    replace_sleep(monkeypatch, kubernetes_client)
    return connect(server)


def connect(server: Server, **options: object) -> Cluster:
    return Cluster({"host": f"http://127.0.0.1:{server.server_port}", "api_key": "secret", **options})


def failing(action: Callable[[], object]) -> ActionFailed:
    with pytest.raises(ActionFailed) as caught:
        action()
    return caught.value


def test_nothing_is_asked_before_the_first_question(server: Server) -> None:
    connect(server)
    assert server.asked == []


@pytest.mark.parametrize(
    ("recorded", "version", "is_it"), [("kubernetes", (1, 36), False), ("openshift", (1, 29), True)]
)
def test_which_cluster_it_is(
    server: Server, cluster: Cluster, recorded: str, version: tuple[int, int], is_it: bool
) -> None:
    server.be(recorded)
    assert (cluster.version(), cluster.is_openshift()) == (version, is_it)
    assert (cluster.version(), cluster.is_openshift(), cluster.requests) == (version, is_it, 2)


@pytest.mark.parametrize("recorded", ["kubernetes", "openshift"])
def test_security_contexts_follow_the_cluster(server: Server, cluster: Cluster, recorded: str) -> None:
    """OpenShift gives each namespace users of its own and refuses others."""
    server.be(recorded)
    topology = Topology.from_params({"name": "demo", "runtime": "kubernetes", "kubernetes": {"image": "x"}})
    made = objects(topology, PodRun("r", 1.0), openshift=cluster.is_openshift(), server_version=cluster.version())
    contexts = [entry["spec"]["template"]["spec"]["securityContext"] for entry in made if entry["kind"] == "Job"]  # type: ignore[index]
    assert [("runAsUser" in found, found["runAsNonRoot"]) for found in contexts] == [
        (recorded == "kubernetes", True)
    ] * 3


def test_openshift_is_asked_through_its_own_client_where_that_is_installed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    from kubernetes.dynamic import DynamicClient

    class Own(DynamicClient):  # type: ignore[misc]
        used = 0

        def request(self, *arguments: Any, **options: Any) -> Any:
            Own.used += 1
            return super().request(*arguments, **options)

    package, dynamic = types.ModuleType("openshift"), types.ModuleType("openshift.dynamic")
    dynamic.DynamicClient = Own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openshift", package)
    monkeypatch.setitem(sys.modules, "openshift.dynamic", dynamic)
    for recorded, used in (("kubernetes", 0), ("openshift", 1)):
        server.be(recorded)
        cluster = connect(server)
        cluster.is_openshift()
        cluster.version()
        assert Own.used == used


def test_every_kind_of_a_topology_has_an_address() -> None:
    for version, kind, plural in KINDS:
        assert path(kind, "n", "x") == f"/{'apis' if '/' in version else 'api'}/{version}/namespaces/n/{plural}/x"
    assert path("Pod") == "/api/v1/pods"
    assert path("Node", "ignored", "w1") == "/api/v1/nodes/w1"


def test_applying_says_who_and_how(server: Server, cluster: Cluster) -> None:
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}}
    server.say("/api/v1/namespaces/n/services/s", manifest)
    for options, more in (({}, {}), ({"force": True}, {"force": ["true"]}), ({"dry_run": True}, {"dryRun": ["All"]})):
        assert cluster.apply(manifest, **options) == manifest
        method, _place, query, body, headers = server.asked[-1]
        assert (method, body) == ("PATCH", manifest)
        assert headers["content-type"] == ["application/apply-patch+yaml"]
        assert query == {"fieldManager": ["dtf.cluster"], "fieldValidation": ["Strict"], **more}
        assert headers["authorization"] == ["Bearer secret"]


def test_a_listing_knows_its_kind_and_version(server: Server, cluster: Cluster) -> None:
    server.say(
        "/api/v1/namespaces/n/pods", {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "p"}}]}
    )
    listing = cluster.list("Pod", "n", labels="a=b")
    assert listing.resource_version == "7"
    assert listing.items == [{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}}]
    assert server.asked[-1][2] == {"labelSelector": ["a=b"]}


def test_what_is_not_there_is_none_or_false(cluster: Cluster) -> None:
    assert cluster.get("Pod", "p", "n") is None
    assert cluster.delete("Pod", "p", "n") is False


def test_deleting_says_how(server: Server, cluster: Cluster) -> None:
    server.say("/apis/batch/v1/namespaces/n/jobs/j", {})
    assert cluster.delete("Job", "j", "n", propagation="Foreground", grace_seconds=0, preconditions={"uid": "u"})
    said = {"propagationPolicy": "Foreground", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}
    assert said.items() <= server.asked[-1][3].items()
    server.say("/api/v1/namespaces/n/pods", {})
    cluster.delete_collection("Pod", "n", labels="a=b", dry_run=True)
    assert (server.asked[-1][2], server.asked[-1][3]["dryRun"]) == ({"labelSelector": ["a=b"]}, ["All"])
    assert failing(lambda: cluster.delete_collection("Pod", "n", labels="")).code == "invalid"


def test_several_groups_are_several_lines(server: Server) -> None:
    server.be("kubernetes")
    connect(server, impersonate_user="eve", impersonate_groups=["a", "b"]).version()
    headers = server.asked[-1][4]
    assert (headers["impersonate-user"], headers["impersonate-group"]) == (["eve"], ["a", "b"])


def test_name_and_password(server: Server) -> None:
    server.be("kubernetes")
    Cluster({"host": f"http://127.0.0.1:{server.server_port}", "username": "u", "password": "p"}).version()
    assert server.asked[-1][4]["authorization"] == ["Basic dTpw"]


def test_a_proxy_is_used_unless_the_host_needs_none(server: Server) -> None:
    proxy = f"http://127.0.0.1:{server.server_port}"
    options = {"host": "http://api.invalid", "api_key": "k", "proxy": proxy}
    # A server that is asked as a proxy is asked for a whole address.
    server.say("/version", {"major": "1", "minor": "30"})
    assert Cluster({**options, "proxy_headers": {"proxy_basic_auth": "u:p"}}).version() == (1, 30)
    assert failing(lambda: Cluster({**options, "no_proxy": "api.invalid"}).version()).code == "unreachable"


def test_a_broken_connection_is_tried_again(server: Server, cluster: Cluster) -> None:
    server.say("/version", (0, b""), (0, b""), (200, b'{"major": "1", "minor": "36"}'))
    assert (cluster.version(), cluster.requests) == ((1, 36), 3)
    server.say("/apis", (503, b"starting"))
    error = failing(cluster.is_openshift)
    assert (error.code, cluster.requests) == ("unreachable", 6)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_sleep(monkeypatch, kubernetes_client)
    error = failing(Cluster({"host": "https://127.0.0.1:1", "api_key": "k"}).version)
    assert error.code == "unreachable"
    assert "https://127.0.0.1:1 does not answer" in str(error)
    assert "kubeconfig" in str(error)


EVENT = b'{"type": "ADDED", "object": {"metadata": {"name": "p", "resourceVersion": "8"}}}\n'
WATCHED = "/api/v1/namespaces/n/pods"


def test_a_watch_yields_events_across_pieces_until_the_server_ends_it(server: Server, cluster: Cluster) -> None:
    mark = b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}\n'
    server.say(WATCHED, (200, [EVENT[:30], EVENT[30:] + mark]))
    events = [
        (kind, found["metadata"]["resourceVersion"]) for kind, found in cluster.watch("Pod", "n", resource_version="7")
    ]
    assert events == [("ADDED", "8"), ("BOOKMARK", "9")]
    query = server.asked[-1][2]
    assert (query["resourceVersion"], query["allowWatchBookmarks"], query["timeoutSeconds"]) == (
        ["7"],
        ["true"],
        ["300"],
    )


def test_a_watch_from_too_long_ago(server: Server, cluster: Cluster) -> None:
    expired = {"kind": "Status", "code": 410, "message": "too old resource version: 1 (9)"}
    line = json.dumps({"type": "ERROR", "object": expired}).encode() + b"\n"
    server.say(WATCHED, (200, [EVENT, line]), (410, json.dumps(expired).encode()))
    seen = []
    with pytest.raises(Gone, match="too old"):
        seen.extend(kind for kind, _found in cluster.watch("Pod", "n", resource_version="1"))
    with pytest.raises(Gone):
        cluster.watch("Pod", "n", resource_version="1")


def test_a_watch_can_be_ended_from_another_thread(server: Server, cluster: Cluster) -> None:
    server.say(WATCHED, (200, [EVENT, b""]))
    watch = cluster.watch("Pod", "n", resource_version="1")
    events = iter(watch)
    assert next(events)[0] == "ADDED"
    closer = threading.Thread(target=watch.close)
    closer.start()
    assert list(events) == []
    closer.join()


def test_a_watch_that_breaks_off_is_told(server: Server, cluster: Cluster) -> None:
    server.say(WATCHED, (200, [EVENT, EVENT[:20]]))
    events = iter(cluster.watch("Pod", "n", resource_version="1"))
    assert next(events)[0] == "ADDED"
    assert failing(lambda: next(events)).code == "unreachable"


def test_lines_of_a_log(server: Server, cluster: Cluster) -> None:
    server.say("/api/v1/namespaces/n/pods/p/log", (200, [b"one\ntw", b"o\n\xff", b"three"]))
    lines = cluster.logs("p", "n", container="trainer", follow=True, since="2026-01-02T03:04:05Z", timestamps=True)
    assert list(lines) == ["one", "two", "\ufffdthree"]
    query = server.asked[-1][2]
    assert query == {
        "container": ["trainer"],
        "follow": ["true"],
        "sinceTime": ["2026-01-02T03:04:05Z"],
        "timestamps": ["true"],
    }
    waiting = {"kind": "Status", "message": 'container "trainer" in pod "p" is waiting to start: ContainerCreating'}
    server.say("/api/v1/namespaces/n/pods/p/log", (400, json.dumps(waiting).encode()))
    assert failing(lambda: cluster.logs("p", "n", previous=True)).code == "invalid"


def test_clocks_are_compared_by_the_date_of_an_answer(server: Server, cluster: Cluster) -> None:
    server.be("kubernetes")
    offset = cluster.clock_offset()
    # One clock serves both here, so the difference is no more than what is in doubt.
    assert abs(offset.seconds) <= offset.uncertainty + 0.01


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "a",
}


def test_a_kubeconfig_by_path_or_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(KUBECONFIG), encoding="utf-8")
    for given in (str(file), KUBECONFIG):
        assert Cluster({"kubeconfig": given}).host == "http://127.0.0.1:9"
        assert Cluster({"kubeconfig": given, "context": "a", "host": "http://127.0.0.1:8"}).host == "http://127.0.0.1:8"


@pytest.mark.parametrize(
    "options",
    [
        {"kubeconfig": "/nowhere/kubeconfig"},
        {"kubeconfig": KUBECONFIG, "context": "b"},
        {"kubeconfig": {"clusters": 1}},
        {"kubeconfig": {**KUBECONFIG, "clusters": []}},
        {"host": "https://127.0.0.1:9", "api_key": "k", "ca_cert": "/nowhere/ca.crt"},
    ],
)
def test_credentials_that_cannot_be_read(options: dict[str, object]) -> None:
    error = failing(lambda: Cluster(options))
    assert error.code == "kubeconfig"


def coded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def client_pair(authority: Pair) -> tuple[bytes, bytes]:
    """Return a user's certificate and key, as kubeadm writes them into its kubeconfig."""
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "user")]))
        .issuer_name(authority.first.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.first.not_valid_before_utc)
        .not_valid_after(authority.first.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())  # type: ignore[arg-type]
    )
    form = serialization.PrivateFormat.PKCS8
    own = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return signed.public_bytes(serialization.Encoding.PEM), own


def kubeconfig_with_a_key(server: str, authority: Pair) -> dict[str, object]:
    user = dict(zip(("client-certificate-data", "client-key-data"), map(coded, client_pair(authority)), strict=True))
    cluster = {"server": server, "certificate-authority-data": coded(pem(authority.first).encode())}
    return {
        **KUBECONFIG,
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }


def test_those_who_read_at_once_do_not_take_each_others_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    given = {"kubeconfig": kubeconfig_with_a_key("https://127.0.0.1:9", make_authority("ca", datetime.now(UTC), 2))}
    with ThreadPoolExecutor(8) as pool:
        for read in [pool.submit(Cluster, given) for _each in range(40)]:
            assert read.result().host == "https://127.0.0.1:9"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("validate", [True, False])
def test_no_copy_of_a_key_outlives_its_reading(
    validate: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server asks for the certificate whose key is in the kubeconfig; connections made later still have it."""
    now = datetime.now(UTC)
    authority = make_authority("ca", now, 2)
    certificate, key = tmp_path / "crt", tmp_path / "key"
    write_pair(make_server(["127.0.0.1"], authority, now, now + timedelta(days=1)), certificate, key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=pem(authority.first))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.be("kubernetes")

    copies = tmp_path / "temporary"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    address = f"https://127.0.0.1:{server.server_port}"
    kubeconfig: dict[str, Any] = kubeconfig_with_a_key(address, authority)
    if not validate:
        kubeconfig["clusters"] = [{"name": "c", "cluster": {"server": address}}]
    for _again in range(2):
        made = Cluster({"kubeconfig": kubeconfig, "validate_certs": validate})
        assert list(copies.iterdir()) == []
        assert made.version() >= (1, 0)
    damaged = {**kubeconfig["users"][0]["user"], "client-certificate-data": coded(b"no certificate")}
    refused = failing(lambda: Cluster({"kubeconfig": {**kubeconfig, "users": [{"name": "u", "user": damaged}]}}))
    assert refused.code == "kubeconfig"
    assert list(copies.iterdir()) == []
    stranger = failing(lambda: Cluster({"host": address, "api_key": "k"}).version())
    assert stranger.code == "certificate"


def test_without_the_client_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No module named 'kubernetes'")

    monkeypatch.setattr(kubernetes_client, "_Imported", missing)
    error = failing(lambda: Cluster({}))
    assert error.code == "client_missing"
    assert "Failed to import the required Python library (kubernetes)" in str(error)
