# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster's API is reached, with kubernetes.core's names; mirrored by the doc fragment ``kubernetes``.

This module util is private to the collection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible.module_utils.basic import env_fallback


def _option(kind: str, variable: str, **more: object) -> dict[str, object]:
    return {"type": kind, "fallback": (env_fallback, [variable]), **more}


#: Options of a connection.
CONNECTION_ARGS: dict[str, object] = {
    "kubeconfig": _option("raw", "K8S_AUTH_KUBECONFIG"),
    "context": _option("str", "K8S_AUTH_CONTEXT"),
    "host": _option("str", "K8S_AUTH_HOST"),
    "api_key": _option("str", "K8S_AUTH_API_KEY", no_log=True),
    "username": _option("str", "K8S_AUTH_USERNAME"),
    "password": _option("str", "K8S_AUTH_PASSWORD", no_log=True),
    "validate_certs": _option("bool", "K8S_AUTH_VERIFY_SSL", aliases=["verify_ssl"]),
    "ca_cert": _option("path", "K8S_AUTH_SSL_CA_CERT", aliases=["ssl_ca_cert"]),
    "client_cert": _option("path", "K8S_AUTH_CERT_FILE", aliases=["cert_file"]),
    "client_key": _option("path", "K8S_AUTH_KEY_FILE", aliases=["key_file"], no_log=False),
    "proxy": _option("str", "K8S_AUTH_PROXY"),
    "no_proxy": _option("str", "K8S_AUTH_NO_PROXY"),
    "proxy_headers": {
        "type": "dict",
        "options": {
            "basic_auth": _option("str", "K8S_AUTH_PROXY_HEADERS_BASIC_AUTH", no_log=True),
            "proxy_basic_auth": _option("str", "K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH", no_log=True),
            "user_agent": _option("str", "K8S_AUTH_PROXY_HEADERS_USER_AGENT"),
        },
    },
    "persist_config": _option("bool", "K8S_AUTH_PERSIST_CONFIG"),
    "impersonate_user": _option("str", "K8S_AUTH_IMPERSONATE_USER"),
    "impersonate_groups": _option("list", "K8S_AUTH_IMPERSONATE_GROUPS", elements="str"),
}


def connection(params: Mapping[str, object], environment: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return the part of a module's arguments that :class:`kubernetes_client.Cluster` reads.

    Args:
        params: a module's arguments. In one that knows hosts by name too, ``host`` has no value of its own from the
            environment.
        environment: stands in for what such a module left open; the process's own unless given.
    """
    given = {name: params[name] for name in CONNECTION_ARGS if params.get(name) is not None}
    environment = os.environ if environment is None else environment
    if "host" not in given and environment.get("K8S_AUTH_HOST"):
        given["host"] = environment["K8S_AUTH_HOST"]
    return given
