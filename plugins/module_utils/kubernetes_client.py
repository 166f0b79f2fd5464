# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that imports a Kubernetes client: one cluster, asked in as few requests as there can be.

Every object is a plain mapping as the API writes it. The few kinds a topology is made of are in :data:`KINDS`, so that
nothing is asked before the first question; only where objects may be of any kind (:meth:`Cluster.resource`) the server
is asked what it has. ``requests`` counts what was sent.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from .errors import ActionFailed
from .kube_errors import Gone, Request, refusal

FIELD_MANAGER = "dtf.cluster"
#: Seconds until a connection stands, and until an answer begins.
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 30.0
#: Seconds without a line after which a followed log counts as broken; a parameter server may have nothing to say.
LOG_SILENCE = 3600.0
#: A connection that broke is tried again so often, because every request here may be repeated without harm.
ATTEMPTS = 3
#: API groups that only OpenShift has.
OPENSHIFT_GROUPS = {"route.openshift.io", "security.openshift.io"}

#: The client knows the copies that it made of a kubeconfig's certificates by process: who reads removes all of them.
_READING = threading.Lock()

#: Kind → apiVersion, plural, whether it lives in a namespace.
KINDS: dict[str, tuple[str, str, bool]] = {
    "ConfigMap": ("v1", "configmaps", True),
    "Endpoints": ("v1", "endpoints", True),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices", True),
    "Event": ("v1", "events", True),
    "Job": ("batch/v1", "jobs", True),
    "Lease": ("coordination.k8s.io/v1", "leases", True),
    "LimitRange": ("v1", "limitranges", True),
    "Namespace": ("v1", "namespaces", False),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "Node": ("v1", "nodes", False),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims", True),
    "Pod": ("v1", "pods", True),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets", True),
    "PriorityClass": ("scheduling.k8s.io/v1", "priorityclasses", False),
    "ResourceQuota": ("v1", "resourcequotas", True),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "Route": ("route.openshift.io/v1", "routes", True),
    "Secret": ("v1", "secrets", True),
    "Service": ("v1", "services", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "StorageClass": ("storage.k8s.io/v1", "storageclasses", False),
}

Object = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """The objects of a kind at one moment, and the version from which a watch goes on without a gap."""

    items: list[Object]
    resource_version: str


@dataclass(frozen=True)
class ClockOffset:
    """How far the server's clock is ahead of this machine's, and how sure that is (seconds)."""

    seconds: float
    uncertainty: float


def path(kind: str, namespace: str = "", name: str = "", part: str = "") -> str:
    """Return the address of objects of a kind, of one object or of a part of it such as its log."""
    version, plural, namespaced = KINDS[kind]
    place = f"/namespaces/{namespace}" if namespaced and namespace else ""
    return "".join(
        ["/apis/" if "/" in version else "/api/", version, place, "/", plural]
        + ["/" + piece for piece in (name, part) if piece]
    )


@dataclass(frozen=True)
class Resource:
    """Where the API has the objects of a kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, name: str, namespace: str) -> str:
        """Return the address of an object."""
        place = f"/namespaces/{namespace}" if self.namespaced else ""
        root = "/apis/" if "/" in self.api_version else "/api/"
        return f"{root}{self.api_version}{place}/{self.plural}/{name}"


class Cluster:
    """A cluster reached with the credentials of one user.

    Args:
        connection: options of :data:`arguments_kubernetes.CONNECTION_ARGS`; what is missing or ``None`` was not given.

    Raises:
        ActionFailed: the client is not installed, or the credentials cannot be read. Nothing is asked yet.
    """

    def __init__(self, connection: Mapping[str, object]) -> None:
        self._api = _Api(connection)
        #: Number of requests that were sent, and when a response said it was (server's clock, whole seconds).
        self.requests = 0
        self.server_date: float | None = None
        self._openshift: bool | None = None
        self._version: tuple[int, int] | None = None
        self._resources: dict[str, dict[str, Resource]] = {}
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """Return the API server's address."""
        return self._api.host

    def version(self) -> tuple[int, int]:
        """Return major and minor version of the API server."""
        if self._version is None:
            document = self._json(Request("get", "version"), "GET", "/version")
            self._version = int(document["major"]), int("".join(filter(str.isdigit, document["minor"])))
        return self._version

    def is_openshift(self) -> bool:
        """Whether the cluster has OpenShift's API groups."""
        if self._openshift is None:
            document = self._json(Request("get", "API groups"), "GET", "/apis")
            self._openshift = bool({group["name"] for group in document["groups"]} & OPENSHIFT_GROUPS)
            if self._openshift:
                self._api.use_openshift()
        return self._openshift

    def git_version(self) -> str:
        """Return the API server's version as it writes it, such as ``v1.36.3``."""
        return str(self._json(Request("get", "version"), "GET", "/version")["gitVersion"])

    def api_versions(self) -> list[str]:
        """Return each group with each of its versions, the core's too."""
        document = self._json(Request("get", "API groups"), "GET", "/apis")
        return ["v1", *(entry["groupVersion"] for group in document["groups"] for entry in group["versions"])]

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """Return where the API has a kind, or ``None`` where it does not know it.

        A version is asked about once. One that was not there is asked about again: it may have been defined meanwhile.
        """
        known = self._resources.get(api_version, {})
        if kind not in known:
            root = "/apis/" if "/" in api_version else "/api/"
            try:
                document = self._json(Request("get", "the kinds of", api_version), "GET", root + api_version)
            except ActionFailed as error:
                if error.code != "not_found":
                    raise
                return None
            known = self._resources[api_version] = {
                entry["kind"]: Resource(api_version, entry["kind"], entry["name"], bool(entry["namespaced"]))
                for entry in document["resources"]
                if "/" not in entry["name"]
            }
        return known.get(kind)

    def get_at(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """Return an object of any kind, or ``None`` where it does not exist."""
        try:
            return self._json(Request("get", resource.kind, name, namespace), "GET", resource.path(name, namespace))
        except ActionFailed as error:
            if error.code in ("not_found", "namespace_missing"):
                return None
            raise

    def list_at(self, resource: Resource, namespace: str = "") -> Listing:
        """Return the objects of any kind, in one request; one that lives in namespaces wants to know which."""
        place = resource.path("", namespace).rstrip("/")
        document = self._json(Request("list", resource.kind, "", namespace), "GET", place)
        said = {"kind": resource.kind, "apiVersion": resource.api_version}
        found = [{**said, **item} for item in document.get("items") or []]
        return Listing(found, str(document["metadata"].get("resourceVersion", "")))

    def apply_at(
        self, resource: Resource, manifest: Mapping[str, Any], namespace: str, *, manager: str, dry_run: bool = False
    ) -> Object:
        """Apply an object of any kind in the name of a field manager, which takes over what others own of it."""
        name = str(manifest["metadata"]["name"])
        request = Request("apply", resource.kind, name, namespace if resource.namespaced else "")
        query = {"fieldManager": manager, "force": "true", "dryRun": "All" if dry_run else ""}
        place, kind_of_patch = resource.path(name, namespace), "application/apply-patch+yaml"
        return self._json(request, "PATCH", place, query, dict(manifest), kind_of_patch)

    def delete_at(self, resource: Resource, name: str, namespace: str = "") -> bool:
        """Delete an object of any kind and tell whether it was there."""
        request, options = (
            Request("delete", resource.kind, name, namespace),
            _delete_options("Background", None, None, False),
        )
        try:
            self._json(request, "DELETE", resource.path(name, namespace), {}, options)
        except ActionFailed as error:
            if error.code in ("not_found", "namespace_missing"):
                return False
            raise
        return True

    def clock_offset(self) -> ClockOffset:
        """Compare clocks in one small request; a date has whole seconds, so half of one is always in doubt."""
        begin = time.time()
        self._json(Request("get", "version"), "GET", "/version")
        end = time.time()
        date = self.server_date if self.server_date is not None else end
        return ClockOffset(date + 0.5 - (begin + end) / 2, 0.5 + (end - begin) / 2)

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or ``None`` where it does not exist."""
        try:
            return self._json(Request("get", kind, name, namespace), "GET", path(kind, namespace, name))
        except ActionFailed as error:
            if error.code in ("not_found", "namespace_missing"):
                return None
            raise

    def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Listing:
        """Return the objects of a kind that selectors match, in one request; no namespace is all of them."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        document = self._json(Request("list", kind, "", namespace), "GET", path(kind, namespace), query)
        # In a list the objects leave out what the list says of them all.
        said = {"kind": kind, "apiVersion": KINDS[kind][0]}
        found = [{**said, **item} for item in document.get("items") or []]
        return Listing(found, str(document["metadata"].get("resourceVersion", "")))

    def kubelet_summary(self, node: str) -> Object:
        """Return what a node's kubelet has counted of processor time and memory (its Summary API)."""
        query = {"only_cpu_and_memory": "true"}
        place = path("Node", name=node, part="proxy/stats/summary")
        return self._json(Request("read the counters of", "Node", node), "GET", place, query)

    def apply(self, manifest: Mapping[str, Any], *, dry_run: bool = False, force: bool = False) -> Object:
        """Apply an object on the server's side: it exists afterwards, and what we said of it holds.

        Args:
            manifest: what we want to own of the object.
            dry_run: all of it but the storing, with admission and defaults.
            force: take over fields that another manager owns, instead of failing with a conflict.
        """
        metadata = manifest["metadata"]
        request = Request("apply", manifest["kind"], metadata["name"], metadata.get("namespace", ""))
        query = {
            "fieldManager": FIELD_MANAGER,
            "fieldValidation": "Strict",
            "force": "true" if force else "",
            "dryRun": "All" if dry_run else "",
        }
        place = path(request.kind, request.namespace, request.name)
        return self._json(request, "PATCH", place, query, dict(manifest), "application/apply-patch+yaml")

    def patch(
        self, kind: str, name: str, namespace: str, document: Mapping[str, Any], *, dry_run: bool = False
    ) -> Object:
        """Merge a document into an object; ``None`` removes a field."""
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        place, kind_of_patch = path(kind, namespace, name), "application/merge-patch+json"
        return self._json(Request("patch", kind, name, namespace), "PATCH", place, query, dict(document), kind_of_patch)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "",
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        preconditions: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Delete an object and tell whether it was there.

        Args:
            kind: its kind.
            name: its name.
            namespace: where it is.
            propagation: ``Background``, ``Foreground`` (it stays until what it owns is gone) or ``Orphan``.
            grace_seconds: instead of the pod's own grace period.
            preconditions: ``uid`` or ``resourceVersion`` it must have.
            dry_run: all but the deleting.
        """
        options = _delete_options(propagation, grace_seconds, preconditions, dry_run)
        try:
            self._json(
                Request("delete", kind, name, namespace), "DELETE", path(kind, namespace, name), {}, options,
                "application/json",
            )  # fmt: skip
        except ActionFailed as error:
            if error.code in ("not_found", "namespace_missing"):
                return False
            raise
        return True

    def delete_collection(
        self, kind: str, namespace: str, *, labels: str, propagation: str = "Background", dry_run: bool = False
    ) -> None:
        """Delete the objects of a kind that a label selector matches, in one request."""
        if not labels:
            raise ActionFailed("invalid", f"delete {kind}: without a selector it would be all of them")
        self._json(
            Request("delete", kind, "", namespace), "DELETE", path(kind, namespace), {"labelSelector": labels},
            _delete_options(propagation, None, None, dry_run), "application/json",
        )  # fmt: skip

    def watch(
        self,
        kind: str,
        namespace: str,
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
        timeout: float = 300.0,
        silence: float = 75.0,
    ) -> Watch:
        """Follow what happens to the objects of a kind since a version.

        Args:
            kind: their kind.
            namespace: where they are.
            resource_version: of a listing or of the last event.
            labels: label selector.
            fields: field selector.
            timeout: seconds after which the server ends the watch.
            silence: seconds without a byte after which the connection counts as broken; bookmarks come each minute.

        Raises:
            Gone: the version is too old, here or while iterating.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": labels,
            "fieldSelector": fields,
            "timeoutSeconds": str(max(1, round(timeout))),
        }
        request = Request("watch", kind, "", namespace)
        return Watch(request, self._send(request, "GET", path(kind, namespace), query, read_timeout=silence))

    def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        since: str = "",
        tail_lines: int | None = None,
        timestamps: bool = False,
    ) -> Lines:
        """Return the lines of a pod's log as they come.

        Args:
            pod: name of the pod.
            namespace: where it is.
            container: which one, where it has several.
            follow: go on until the container ends.
            previous: that of the container before its last restart.
            since: RFC 3339 time; only what was written then or later.
            tail_lines: only so many of the last lines.
            timestamps: begin each line with the time the node's runtime wrote it at.

        Raises:
            ActionFailed: ``invalid`` while the container has not started, ``not_found`` where the pod is gone.
        """
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "previous": "true" if previous else "",
            "sinceTime": since,
            "tailLines": "" if tail_lines is None else str(tail_lines),
            "timestamps": "true" if timestamps else "",
        }
        request = Request("read the log of", "Pod", pod, namespace)
        read_timeout = LOG_SILENCE if follow else READ_TIMEOUT
        answer = self._send(request, "GET", path("Pod", namespace, pod, "log"), query, read_timeout=read_timeout)
        return Lines(request, answer)

    def _json(
        self,
        request: Request,
        method: str,
        place: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send a request and read its whole answer."""
        answer = self._send(request, method, place, query or {}, body, content_type)
        with _translated(request, self.host):
            document: Object = json.loads(answer.data)
        return document

    def _send(
        self,
        request: Request,
        method: str,
        place: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content_type: str = "application/json",
        read_timeout: float = READ_TIMEOUT,
    ) -> Any:
        """Send a request; return its answer with the body still to be read.

        Raises:
            ActionFailed: the server cannot be reached or refused.
        """
        for attempt in range(1, ATTEMPTS + 1):
            with self._lock:
                self.requests += 1
            try:
                with _translated(request, self.host):
                    answer = self._api.send(method, place, query, body, content_type, read_timeout)
                break
            except ActionFailed as error:
                again = error.code in ("unreachable", "throttled")
                if not again or attempt == ATTEMPTS:
                    raise
                time.sleep(0.5 * attempt)
        date = answer.headers.get("Date")
        if date:
            self.server_date = parsedate_to_datetime(date).timestamp()
        return answer


class Lines:
    """A text that is still being written, line by line; :meth:`close` ends it from any thread."""

    def __init__(self, request: Request, answer: Any) -> None:
        self._request = request
        self._answer = answer
        self._closed = False

    def __iter__(self) -> Iterator[str]:
        """Yield the lines without their ends; the last one also where it has none.

        Raises:
            ActionFailed: ``unreachable``, the connection broke.
        """
        rest = b""
        try:
            with _translated(self._request, ""):
                for piece in self._answer.stream(amt=None, decode_content=False):
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        yield line.decode("utf-8", errors="replace")
        except ActionFailed:
            if not self._closed:
                raise
        finally:
            self._answer.release_conn()
            self._answer.close()
        if rest:
            yield rest.decode("utf-8", errors="replace")

    def close(self) -> None:
        """End the text: whoever waits for its next line sees its end."""
        self._closed = True
        try:
            # Closing alone would not wake a thread that reads.
            self._answer.shutdown()
        except (AttributeError, OSError, RuntimeError, ValueError):
            self._answer.close()


class Watch:
    """Events of a watch, as ``(type, object)`` with types ``ADDED``, ``MODIFIED``, ``DELETED`` and ``BOOKMARK``."""

    def __init__(self, request: Request, answer: Any) -> None:
        self._request = request
        self._lines = Lines(request, answer)

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        """Yield events until the server ends the watch, as it does after a while.

        Raises:
            Gone: events since the last one are no longer known.
            ActionFailed: ``unreachable``, the connection broke; watch again from the last version.
        """
        for line in self._lines:
            try:
                event = json.loads(line)
            except ValueError:
                # The server went away in the midst of an event.
                raise ActionFailed("unreachable", f"{self._request}: the connection broke: watch again") from None
            if event["type"] == "ERROR":
                status = event["object"]
                raise refusal(self._request, int(status.get("code") or 500), json.dumps(status).encode())
            yield event["type"], event["object"]

    def close(self) -> None:
        """End the watch from any thread."""
        self._lines.close()


def _delete_options(
    propagation: str, grace_seconds: int | None, preconditions: Mapping[str, str] | None, dry_run: bool
) -> Object:
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    if preconditions:
        options["preconditions"] = dict(preconditions)
    if dry_run:
        options["dryRun"] = ["All"]
    return options


class _translated:  # noqa: N801 - read as a word of its `with` statement
    """Turns what the client and its transport raise into :class:`ActionFailed`."""

    def __init__(self, request: Request, host: str) -> None:
        self._request = request
        self._host = host

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or isinstance(error, ActionFailed) or not isinstance(error, Exception):
            return
        status = getattr(error, "status", None)
        if isinstance(status, int) and status:
            body = getattr(error, "body", None) or b""
            data = body if isinstance(body, bytes) else str(body).encode()
            raise refusal(self._request, status, data) from error
        # The client reports a refused certificate as an answer with status 0.
        if status == 0 or _is_of_transport(error):
            raise _unreachable(self._request, self._host, error) from error


def _is_of_transport(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("urllib3", "http")


def _unreachable(request: Request, host: str, error: Exception) -> ActionFailed:
    words = str(getattr(error, "reason", None) or error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in words or "certificate verify failed" in words:
        step = "give the cluster's CA in ca_cert (or kubeconfig); validate_certs: false only where anybody may listen"
        return ActionFailed("certificate", f"{request}: {host} is not who it should be ({words}): {step}")
    step = "look at kubeconfig, context and host, at the network and proxy between, and at the control plane"
    return ActionFailed("unreachable", f"{request}: {host or 'the API server'} does not answer ({words}): {step}")


class _Api:
    """The Kubernetes client behind one method."""

    def __init__(self, connection: Mapping[str, object]) -> None:
        given = {name: value for name, value in connection.items() if value is not None}
        self._dynamic = _import_client()
        with _READING:
            try:
                configuration = self._configuration(given)
                self.host: str = configuration.host
                self._client = self._api_client(configuration, given)
            finally:
                self._dynamic.remove_copies()
        self._requester = self._dynamic.DynamicClient(self._client, discoverer=_NoDiscovery)

    def use_openshift(self) -> None:
        """Go on with OpenShift's own client where it is installed."""
        try:
            from openshift.dynamic import DynamicClient  # noqa: PLC0415
        except ImportError:
            return
        self._requester = DynamicClient(self._client, discoverer=_NoDiscovery)

    def send(
        self,
        method: str,
        place: str,
        query: Mapping[str, str],
        body: Object | None,
        content_type: str,
        read_timeout: float,
    ) -> Any:
        """Send one request; return urllib3's answer, its body unread."""
        return self._requester.request(
            method,
            place,
            body=body,
            serialize=False,
            content_type=content_type,
            query_params=[(name, value) for name, value in query.items() if value],
            header_params={"Accept": "application/json, */*"},
            _request_timeout=(CONNECT_TIMEOUT, read_timeout),
        )

    def _configuration(self, given: Mapping[str, Any]) -> Any:
        """Return the client's configuration: credentials from where the options say, each option laid over them."""
        for option in ("ca_cert", "client_cert", "client_key"):
            if option in given and not Path(str(given[option])).expanduser().is_file():
                raise ActionFailed("kubeconfig", f"{option}: there is no file {given[option]}: give its path")
        configuration = self._dynamic.Configuration()
        self._load(configuration, given)
        for option, attribute in (
            ("host", "host"),
            ("username", "username"),
            ("password", "password"),
            ("validate_certs", "verify_ssl"),
            ("ca_cert", "ssl_ca_cert"),
            ("client_cert", "cert_file"),
            ("client_key", "key_file"),
            ("proxy", "proxy"),
            ("no_proxy", "no_proxy"),
        ):
            if option in given:
                setattr(configuration, attribute, given[option])
        if "api_key" in given:
            configuration.api_key = {"authorization": "Bearer " + str(given["api_key"])}
            configuration.refresh_api_key_hook = None
        if given.get("proxy_headers"):
            configuration.proxy_headers = self._dynamic.make_headers(
                **{name: value for name, value in given["proxy_headers"].items() if value is not None}
            )
        # What is tried again, and how often, is decided here.
        configuration.retries = False
        configuration.connection_pool_maxsize = 16
        return configuration

    def _load(self, configuration: Any, given: Mapping[str, Any]) -> None:
        """Read a kubeconfig, or what a pod has, unless address and credentials are all given."""
        config, persist = self._dynamic.config, bool(given.get("persist_config"))
        if "host" in given and ("api_key" in given or {"username", "password"} <= set(given)):
            return
        source, context = given.get("kubeconfig"), given.get("context")
        try:
            if isinstance(source, Mapping):
                config.load_kube_config_from_dict(
                    dict(source), context=context, client_configuration=configuration, persist_config=False
                )
                return
            if source is None and context is None:
                try:
                    config.load_incluster_config(client_configuration=configuration)
                    return
                except config.ConfigException:
                    if "host" in given and not _default_kubeconfig(config):
                        return
            file = None if source is None else str(Path(str(source)).expanduser())
            config.load_kube_config(
                config_file=file, context=context, client_configuration=configuration, persist_config=persist
            )
        # A damaged file can fail in many ways inside the client; each is the same to a user.
        except Exception as error:
            where = source if isinstance(source, str) else ("the given document" if source else "~/.kube/config")
            step = "give kubeconfig (and context), or host with api_key, or run where one of them is at hand"
            raise ActionFailed("kubeconfig", f"cannot read credentials from {where} ({error}): {step}") from error

    def _api_client(self, configuration: Any, given: Mapping[str, Any]) -> Any:
        try:
            client = self._dynamic.ApiClient(configuration)
            self._dynamic.take_in_files(client)
        except (OSError, ValueError) as error:
            step = "look at ca_cert, client_cert and client_key, or at the kubeconfig they come from"
            raise ActionFailed("kubeconfig", f"cannot use the credentials for {self.host} ({error}): {step}") from error
        client.user_agent = "dtf.cluster"
        if "username" in given and "password" in given:
            client.set_default_header("Authorization", configuration.get_basic_auth_token())
        if "impersonate_user" in given:
            client.set_default_header("Impersonate-User", str(given["impersonate_user"]))
        groups: Sequence[str] = given.get("impersonate_groups") or ()
        if groups:
            self._dynamic.add_header_lines(client, "Impersonate-Group", groups)
        return client


def _default_kubeconfig(config: Any) -> bool:
    """Whether there is a kubeconfig where a user's own would be."""
    places = str(config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION).split(":")
    return any(Path(place).expanduser().is_file() for place in places)


class _NoDiscovery:
    """Stands where the client would first read what the API has: we know our kinds."""

    def __init__(self, client: object, cache_file: object) -> None:
        del client, cache_file


class _Imported:
    """The parts of the client that are used, imported when the first cluster is asked for."""

    def __init__(self) -> None:
        from kubernetes import config  # noqa: PLC0415
        from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415
        from kubernetes.dynamic import DynamicClient  # noqa: PLC0415
        from urllib3 import make_headers  # noqa: PLC0415
        from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415

        self.config = config
        self.ApiClient = ApiClient
        self.Configuration = Configuration
        self.DynamicClient = DynamicClient
        self.make_headers = make_headers
        self._create_context = create_urllib3_context

    def take_in_files(self, client: Any) -> None:
        """Read certificates and key now, and not with each connection."""
        options = client.rest_client.pool_manager.connection_pool_kw
        context = self._create_context(cert_reqs=options.get("cert_reqs"))
        file, data = options.pop("ca_certs", None), options.pop("ca_cert_data", None)
        if file or data:
            context.load_verify_locations(cafile=file, cadata=data)
        else:
            context.load_default_certs()
        certificate, key = options.pop("cert_file", None), options.pop("key_file", None)
        if certificate:
            context.load_cert_chain(certificate, key)
        options["ssl_context"] = context

    def remove_copies(self) -> None:
        """Remove the copies that the client has made of certificates and key in a kubeconfig.

        It would do so when the interpreter ends. A process that Ansible forks does not end in that way, nor does one
        that is killed: each would leave a private key in the folder for temporary files.
        """
        self.config.kube_config._cleanup_temp_files()  # noqa: SLF001 - the client has no public word for it

    @staticmethod
    def add_header_lines(client: Any, name: str, values: Sequence[str]) -> None:
        """Send a header several times with each request, which the client's own mapping of headers cannot say."""
        from urllib3 import HTTPHeaderDict  # noqa: PLC0415

        manager = client.rest_client.pool_manager
        send = manager.request

        def request(method: str, url: str, **options: Any) -> Any:
            headers = HTTPHeaderDict(options.pop("headers", None) or {})
            for value in values:
                headers.add(name, value)
            return send(method, url, headers=headers, **options)

        manager.request = request


def _import_client() -> _Imported:
    try:
        return _Imported()
    except ImportError as error:
        from ansible.module_utils.basic import missing_required_lib  # noqa: PLC0415

        message = missing_required_lib("kubernetes", reason="for runtime kubernetes")
        raise ActionFailed("client_missing", f"{message} ({error})") from error


__all__ = ["CONNECT_TIMEOUT", "FIELD_MANAGER", "KINDS", "ClockOffset", "Cluster", "Gone", "Lines", "Listing", "Watch"]
