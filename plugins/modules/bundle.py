#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``bundle``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: Fill the controller's bundle from upstream, or verify the one that is there
version_added: 0.1.0
description:
  - A bundle is a folder with all that nodes need (programs, images, charts) and a C(manifest.json) with the digest of
    each file. Nodes fetch nothing by themselves.
  - With O(source=upstream) everything that the lock names is downloaded from its official address or a mirror, several
    at once, verified by its digest, and put into the bundle. What is there already is not fetched again. An interrupted
    download continues where it stopped.
  - With O(source=directory) nothing is fetched and no artifact is changed. The manifest and every file are verified.
  - All problems come in one message. A file with another digest than expected is refused.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Tells what would be fetched and from where. Asks no server.
    support: full
  diff_mode:
    description: Shows the files of the bundle with their digests before and after.
    support: full
  action:
    description: Everything is done on the controller.
    support: full
options:
  path:
    description: Folder of the bundle on the controller.
    type: path
    required: true
  source:
    description: V(upstream) fetches what the lock names, V(directory) verifies what is there.
    type: str
    default: upstream
    choices: [upstream, directory]
  lock:
    description: File with the artifacts, their versions, addresses and digests. Without it, the collection's own.
    type: path
  architecture:
    description: Machines that the programs and images are for.
    type: str
    default: amd64
    choices: [amd64, arm64]
  require:
    description:
      - Names of artifacts that have to be in the bundle. What is missing is named with what needs it.
      - An artifact that the lock calls optional is only fetched if its name is here.
    type: list
    elements: str
    default: []
  only_required:
    description: Whether nothing is fetched but what O(require) names, as for machines that are no nodes by kubeadm.
    type: bool
    default: false
  mirrors:
    description:
      - Official host, or beginning of an official address, to the address that takes its place. The longest one that
        fits is taken.
      - Of a registry's mirror the path becomes part of the image's name, as in V(https://mirror.example/k8s) for
        C(mirror.example/k8s/pause). A path with C(v2) in it is the root of the registry up to there.
    type: dict
    default: {}
  environment:
    description: Environment of the downloads, such as C(https_proxy) and C(no_proxy), over that of the playbook.
    type: dict
    default: {}
  ca:
    description: File with the certificate authorities that servers are trusted by. Without it the system's are taken.
    type: path
  parallel:
    description: Downloads at the same time.
    type: int
    default: 4
  retries:
    description: How often a request is repeated that failed for a reason that may pass, with longer and longer pauses.
    type: int
    default: 5
  timeout:
    description: Seconds of silence after which a connection counts as dead.
    type: float
    default: 30
  pin_unknown:
    description:
      - Trust the first download of an artifact that has no digest in the lock, and write the digest to O(lock), which
        is made as a copy of the collection's own if it is not there. Where upstream publishes a digest beside a file,
        that is the one that is expected.
      - Without it such an artifact is refused.
    type: bool
    default: false
  prune:
    description: Remove files of the bundle that the lock does not name.
    type: bool
    default: false
  verify:
    description:
      - V(changed) reads only those files again whose size, time or inode is another than when they were read last,
        which is remembered in C(.verified.json). V(always) reads all.
    type: str
    default: changed
    choices: [changed, always]
  progress:
    description: How progress is shown. V(auto) refreshes one line on a terminal, else a line comes every few seconds.
    type: str
    default: auto
    choices: [auto, lines, none]
notes:
  - Logins are taken from C(~/.netrc), for registries that want a token from the host that gives it.
seealso:
  - module: dtf.cluster.node_bundle
"""

EXAMPLES = r"""
- name: Fill the bundle through a mirror
  dtf.cluster.bundle:
    path: /srv/bundle
    mirrors:
      dl.k8s.io: https://mirror.bank.example/k8s
      registry.k8s.io: https://registry.bank.example/k8s-proxy
    environment:
      https_proxy: http://proxy.bank.example:3128

- name: Verify a bundle that was carried here
  dtf.cluster.bundle:
    path: /srv/bundle
    source: directory
    require: [kubeadm, kubelet, kubectl]
"""

RETURN = r"""
path:
  description: Folder of the bundle.
  returned: success
  type: str
  sample: /srv/bundle
fetched:
  description: Files of the bundle that were fetched, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [bin/kubelet]
removed:
  description: Files that were removed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: []
pinned:
  description: Name of an artifact to the digest that was learnt and written to O(lock).
  returned: success
  type: dict
  sample: {}
downloads:
  description: Addresses that were asked, or in check mode would be. Mirrors are already in them.
  returned: success
  type: list
  elements: dict
  sample: [{name: kubelet, kind: binary, version: 1.36.3, address: "https://mirror.bank.example/k8s/kubelet"}]
addresses:
  description: What a firewall has to let through for this lock and these mirrors, with known redirects.
  returned: success
  type: list
  elements: dict
  sample: [{kind: binary, address: "https://dl.k8s.io", redirects: [cdn.dl.k8s.io], artifacts: [kubeadm, kubelet]}]
artifacts:
  description: What the bundle's manifest lists. In check mode, what it lists now if something would be fetched.
  returned: success
  type: list
  elements: dict
  sample: []
failure:
  description: What is wrong, for programs.
  returned: failure
  type: dict
  sample:
    code: bundle_differs
    message: one line for each problem
    details: {problems: [{path: bin/kubelet, expected: sha256 57a1…, found: sha256 9b0c…}]}
"""
