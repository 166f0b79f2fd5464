# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: names and passwords as a server's file of hashes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: htpasswd
short_description: Turn names and passwords into a file of bcrypt hashes
version_added: 0.1.0
description:
  - Returns a line for each user. A hash that the file has already is kept for as long as the password fits it, so that
    the same users are the same file.
  - Works on the controller and needs its Python package C(bcrypt).
author:
  - The dtf.cluster team (@dtf-cluster)
positional: existing
options:
  _input:
    description: Names and passwords.
    type: dict
    required: true
  existing:
    description: Text of the file as it is.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the file anew
  ansible.builtin.copy:
    content: "{{ {'trainer': password} | dtf.cluster.htpasswd(existing) }}"
    dest: /etc/registry/htpasswd
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: Text of the file.
  type: str
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

#: 2^10 rounds: what a registry can check at each of an image's many requests.
ROUNDS = 10


def htpasswd(users: Mapping[str, object], existing: str = "") -> str:
    """Return the file's text, or fail with every problem; no password is told."""
    from ..module_utils.errors import InvalidInput
    from ..module_utils.registry_settings import known_hashes, user_problems

    try:
        import bcrypt  # only sites with users need it
    except ImportError as error:
        raise AnsibleFilterError(
            "registry_users needs the Python package bcrypt beside Ansible on the controller: pip install bcrypt"
        ) from error
    problems = user_problems(users)
    if problems:
        raise AnsibleFilterError(str(InvalidInput("the registry", problems)))
    known = known_hashes(existing)

    def fits(password: bytes, found: str) -> bool:
        try:
            return bcrypt.checkpw(password, found.encode())
        except ValueError:
            return False  # no hash of bcrypt's

    lines = []
    for name in sorted(users):
        password, found = str(users[name]).encode(), known.get(name, "")
        digest = found if fits(password, found) else bcrypt.hashpw(password, bcrypt.gensalt(ROUNDS)).decode()
        lines.append(f"{name}:{digest}\n")
    return "".join(lines)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"htpasswd": htpasswd}
