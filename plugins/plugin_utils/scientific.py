# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where NumPy and SciPy come from: the one place that imports them.

They are needed on the controller and only to judge a benchmark's numbers. Whoever installs the collection without them
can do everything else, so their absence is told when somebody asks for a judgement, not when a file is imported.

This plugin util is private to the collection.
"""

from __future__ import annotations

from ..module_utils.errors import ActionFailed

try:
    import numpy as np
    from scipy import optimize, special, stats

    MISSING = ""
except ImportError as problem:
    np = optimize = special = stats = None  # type: ignore[assignment,unused-ignore]
    MISSING = str(problem)

__all__ = ["np", "optimize", "require", "special", "stats"]


def require() -> None:
    """Return if NumPy and SciPy are there.

    Raises:
        ActionFailed: they are not.
    """
    if MISSING:
        raise ActionFailed(
            "missing_library",
            f"intervals and fits need numpy and scipy on the controller ({MISSING}): "
            "python -m pip install numpy scipy, with the Python that runs ansible-playbook",
        )
