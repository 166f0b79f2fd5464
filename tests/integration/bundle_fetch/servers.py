"""Servers on loopback: files and a registry as upstream has them, and a proxy that leads every host to them."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import json
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fixtures.relay import exchange

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    host: str
    path: str
    range: str
    authorization: str


@dataclass
class Upstream:
    """What the servers have, how they misbehave, and what they were asked.

    Attributes:
        files: path → content.
        blobs: digest → content of images' parts.
        manifests: name and tag or digest → type and content.
        redirects: path → where it really is.
        faults: path → what happens to the next requests, one after the other: a status, or ``cut:N`` for an end after
            N bytes.
        ranges: whether parts of files are given.
        token: what the registry wants to be told; empty for a registry that is open to all.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ranges: bool = True
    token: str = ""
    asked: list[Asked] = field(default_factory=list)

    def paths(self) -> list[str]:
        """Return the paths that were asked for."""
        return [asked.path for asked in self.asked]

    def add_image(self, name: str, tag: str, architectures: tuple[str, ...] = ("arm64", "amd64")) -> str:
        """Make an image with an index; return the digest of that."""
        entries = []
        for architecture in architectures:
            parts = [
                json.dumps(
                    {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
                ).encode(),
                f"base of {architecture}\n".encode() * 3000,
                f"{name} for {architecture}\n".encode() * 2000,
            ]
            described = [
                {
                    "mediaType": f"application/vnd.oci.image.{kind}",
                    "digest": f"sha256:{sha256(part)}",
                    "size": len(part),
                }
                for kind, part in zip(("config.v1+json", "layer.v1.tar", "layer.v1.tar"), parts, strict=True)
            ]
            self.blobs |= {f"sha256:{sha256(part)}": part for part in parts}
            manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
            body = json.dumps(manifest).encode()
            self.manifests[f"{name}@sha256:{sha256(body)}"] = (MANIFEST, body)
            platform = {"os": "linux", "architecture": architecture}
            digest = f"sha256:{sha256(body)}"
            entries.append({"mediaType": MANIFEST, "digest": digest, "size": len(body), "platform": platform})
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self.manifests[f"{name}@sha256:{sha256(body)}"] = self.manifests[f"{name}@{tag}"] = (INDEX, body)
        return sha256(body)


class Handler(BaseHTTPRequestHandler):
    """Answers as the servers' state says."""

    upstream: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        host = self.headers.get("Host", "")
        authorization = self.headers.get("Authorization", "")
        self.upstream.asked.append(Asked(host, path, self.headers.get("Range", ""), authorization))
        fault = self.upstream.faults[path].pop(0) if self.upstream.faults.get(path) else ""
        if fault.isdigit():
            self.answer(int(fault), b"not now")
        elif path in self.upstream.redirects:
            self.answer(302, b"", {"Location": self.upstream.redirects[path]})
        elif path == "/token":
            self.answer(200, json.dumps({"token": self.upstream.token}).encode())
        elif path.startswith("/v2/"):
            self.registry(path.removeprefix("/v2/"), authorization, fault)
        elif path in self.upstream.files:
            self.content(self.upstream.files[path], fault)
        else:
            self.answer(404, b"nothing here")

    def registry(self, path: str, authorization: str, fault: str) -> None:
        if self.upstream.token and authorization != f"Bearer {self.upstream.token}":
            host = self.headers.get("Host", "")
            scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
            challenge = f'Bearer realm="{scheme}://{host}/token",service="{host}",scope="repository:{path}:pull"'
            self.answer(401, b"", {"WWW-Authenticate": challenge})
            return
        name, _, rest = path.rpartition("/manifests/")
        if name and f"{name}@{rest}" in self.upstream.manifests:
            kind, body = self.upstream.manifests[f"{name}@{rest}"]
            headers = {"Content-Type": kind, "Docker-Content-Digest": f"sha256:{sha256(body)}"}
            self.answer(200, body, headers)
            return
        digest = path.rpartition("/blobs/")[2]
        if digest in self.upstream.blobs:
            self.content(self.upstream.blobs[digest], fault)
            return
        self.answer(404, b"{}")

    def content(self, content: bytes, fault: str) -> None:
        headers, status, begin = {}, 200, 0
        asked = self.headers.get("Range", "")
        if self.upstream.ranges and asked:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        headers["Accept-Ranges"] = "bytes" if self.upstream.ranges else "none"
        body = content[begin:]
        self.head(status, len(body), headers)
        if fault.startswith("cut:"):
            self.wfile.write(body[: int(fault.removeprefix("cut:"))])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.head(status, len(body), headers or {})
        self.wfile.write(body)

    def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, content in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, content)
        self.end_headers()


@contextmanager
def serving(upstream: Upstream, certificate: Path | None = None) -> Iterator[int]:
    """Serve on a free port, with TLS if there is a certificate; yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"upstream": upstream}))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with _running(server):
        yield server.server_address[1]


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def proxy(port: int, tunnels: list[str]) -> Iterator[int]:
    """Lead every tunnel to one port of this machine, whatever host was asked for; yield the proxy's port."""

    class Gate(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            tunnels.append(self.path)
            with socket.create_connection(("127.0.0.1", port)) as there:
                self.send_response(200)
                self.end_headers()
                exchange(self.connection, there)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    server.daemon_threads = True
    with _running(server):
        yield server.server_address[1]


def certificate(folder: Path, hosts: list[str]) -> Path:
    """Write a certificate of its own authority, with its key, for some hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bundle test")])
    now = dt.datetime.now(dt.UTC)
    names: list[Any] = [x509.DNSName(host) for host in hosts]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
