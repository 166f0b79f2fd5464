# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version of the collection that is running, from a checkout or from an installed artifact.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml


def collection_version() -> str:
    """Return the version that ``MANIFEST.json`` (installed) or ``galaxy.yml`` (checkout) names."""
    root = Path(__file__).absolute().parents[2]
    manifest = root / "MANIFEST.json"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"])
