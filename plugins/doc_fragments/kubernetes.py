# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster's API is reached, documented once for every module that asks it."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by modules; mirrors C(module_utils/arguments_kubernetes.py)."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - A kubeconfig's path, or its content as a mapping.
      - Without it, and without O(host) with credentials, the credentials that a pod has are used where there are some,
        else what the environment variable E(KUBECONFIG) names, else C(~/.kube/config).
      - Can also be given with the environment variable E(K8S_AUTH_KUBECONFIG).
    type: raw
  context:
    description:
      - Name of a context in the kubeconfig; its current one unless given.
      - Can also be given with the environment variable E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description:
      - URL of the API server.
      - Can also be given with the environment variable E(K8S_AUTH_HOST).
    type: str
  api_key:
    description:
      - Token to authenticate with.
      - Can also be given with the environment variable E(K8S_AUTH_API_KEY).
    type: str
  username:
    description:
      - Name for an API server that takes name and password.
      - Can also be given with the environment variable E(K8S_AUTH_USERNAME).
    type: str
  password:
    description:
      - Password for an API server that takes name and password.
      - Can also be given with the environment variable E(K8S_AUTH_PASSWORD).
    type: str
  validate_certs:
    description:
      - Whether the API server's certificate is checked.
      - Can also be given with the environment variable E(K8S_AUTH_VERIFY_SSL).
    type: bool
    aliases: [verify_ssl]
  ca_cert:
    description:
      - File with the CA that the API server's certificate is checked by.
      - Can also be given with the environment variable E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - File with a certificate to authenticate with.
      - Can also be given with the environment variable E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - File with the key of O(client_cert).
      - Can also be given with the environment variable E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  proxy:
    description:
      - URL of a proxy to reach the API server through.
      - Can also be given with the environment variable E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description:
      - Hosts, separated by commas, that are reached without O(proxy).
      - Can also be given with the environment variable E(K8S_AUTH_NO_PROXY).
    type: str
  proxy_headers:
    description: Headers for the proxy.
    type: dict
    suboptions:
      basic_auth:
        description:
          - Name and password with a colon between, for an authorization header.
          - Can also be given with the environment variable E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH).
        type: str
      proxy_basic_auth:
        description:
          - Name and password with a colon between, for a proxy-authorization header.
          - Can also be given with the environment variable E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH).
        type: str
      user_agent:
        description:
          - What the proxy is told who asks.
          - Can also be given with the environment variable E(K8S_AUTH_PROXY_HEADERS_USER_AGENT).
        type: str
  persist_config:
    description:
      - Whether a token that was renewed is written back to the kubeconfig.
      - Can also be given with the environment variable E(K8S_AUTH_PERSIST_CONFIG).
    type: bool
  impersonate_user:
    description:
      - User to act as.
      - Can also be given with the environment variable E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - Groups to act as a member of.
      - Can also be given with the environment variable E(K8S_AUTH_IMPERSONATE_GROUPS), separated by commas.
    type: list
    elements: str
requirements:
  - kubernetes 24 or later (Python package), to talk to a cluster
"""
