"""How a cluster's API is reached: arguments, their documentation, the environment."""

from __future__ import annotations

from typing import Any

import yaml

from ansible_collections.dtf.cluster.plugins.doc_fragments.kubernetes import ModuleDocFragment
from ansible_collections.dtf.cluster.plugins.module_utils.arguments_kubernetes import CONNECTION_ARGS, connection


def documented(options: dict[str, Any]) -> dict[str, Any]:
    """Return what documentation says of options, in the words of an argument spec."""
    return {
        name: {
            "type": option["type"],
            "aliases": option.get("aliases", []),
            "elements": option.get("elements"),
            "variable": "".join(part.split("E(")[1].split(")")[0] for part in option["description"] if "E(K8S" in part),
            "options": documented(option.get("suboptions", {})),
        }
        for name, option in options.items()
    }


def specified(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "type": option["type"],
            "aliases": option.get("aliases", []),
            "elements": option.get("elements"),
            "variable": "".join(option["fallback"][1]) if "fallback" in option else "",
            "options": specified(option.get("options", {})),
        }
        for name, option in options.items()
    }


def test_documentation_and_arguments_are_the_same() -> None:
    options = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert documented(options) == specified(CONNECTION_ARGS)


def test_what_is_secret_is_kept_out_of_logs() -> None:
    headers: Any = CONNECTION_ARGS["proxy_headers"]
    options: Any = {**CONNECTION_ARGS, **headers["options"]}
    secret = {name for name, option in options.items() if option.get("no_log")}
    assert secret == {"api_key", "password", "basic_auth", "proxy_basic_auth"}


def test_a_connection_is_what_was_given() -> None:
    params = {"name": "demo", "context": "c", "host": None, "kubeconfig": "/k", "workers": {}}
    assert connection(params, {}) == {"context": "c", "kubeconfig": "/k"}


def test_a_server_may_come_from_the_environment() -> None:
    """Beside a topology's hosts the option has no fallback of its own."""
    environment = {"K8S_AUTH_HOST": "https://a"}
    assert connection({"host": None}, environment) == {"host": "https://a"}
    assert connection({"host": "https://b"}, environment) == {"host": "https://b"}
