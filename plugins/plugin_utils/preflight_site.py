# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What preflight's role says of the site, for its filters.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.errors import InvalidInput
from ..module_utils.preflight import Site


def read_site(given: Mapping[str, Any]) -> Site:
    """Return the site that the role's variables describe; every problem of them at once fails the task."""
    try:
        return Site.from_params(given)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error
