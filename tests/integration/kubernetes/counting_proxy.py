"""A proxy before an API server that writes down every request: the client's own count is not asked."""

from __future__ import annotations

import base64
import http.client
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class CountingProxy(ThreadingHTTPServer):
    """Hands requests on with an administrator's certificate."""

    daemon_threads = True

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.upstream = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        with tempfile.TemporaryDirectory() as folder:
            certificate = Path(folder, "both.pem")
            parts = (user["client-certificate-data"], user["client-key-data"])
            certificate.write_bytes(b"\n".join(map(base64.b64decode, parts)))
            self.context.load_cert_chain(certificate)
        #: Method and what it was about, without names.
        self.requests: Counter[str] = Counter()
        #: Requests that ask the server to store something.
        self.stored: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: CountingProxy
    protocol_version = "HTTP/1.1"

    def hand_on(self) -> None:
        self.server.requests[f"{self.command} {urlsplit(self.path).path}"] += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command != "GET" and "dryRun=All" not in self.path and b'"dryRun": ["All"]' not in body:
            self.server.stored.append(self.requestline)
        dropped = ("host", "authorization", "connection", "accept-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        there = self.server.upstream
        connection = http.client.HTTPSConnection(
            there.hostname or "", there.port, context=self.server.context, timeout=30
        )
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        self.send_response(answer.status)
        for name in ("Content-Type", "Date"):
            if answer.getheader(name):
                self.send_header(name, str(answer.getheader(name)))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = hand_on  # noqa: N815 - the names are the base class's

    def log_message(self, *_arguments: object) -> None:
        """Requests are counted, not told."""


@contextmanager
def counting(kubeconfig: Path) -> Iterator[CountingProxy]:
    """Run a proxy for a while."""
    proxy = CountingProxy(kubeconfig)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
