# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that changes a node needs there."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by the modules of the cluster's roles."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - Linux with systemd, and Python 3.9 or later on the host
  - root on the host, directly or by C(become)
"""
