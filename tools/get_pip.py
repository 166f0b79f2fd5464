"""Stands in for the pip bootstrap script that ansible-test downloads, where that one address does not answer.

ansible-test calls it as `get-pip.py [pip options] pip==VERSION … [--no-setuptools] [--no-wheel]` in a fresh virtual
environment without pip. Python carries a pip of its own (ensurepip), which can fetch the wanted one from any index.
"""

from __future__ import annotations

import ensurepip
import os
import runpy
import sys


def main() -> None:
    """Install Python's own pip, then let it install what was asked for."""
    wanted = [argument for argument in sys.argv[1:] if argument not in {"--no-setuptools", "--no-wheel"}]
    # ensurepip drops the settings of pip from the environment; the index behind them is needed in a moment.
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    ensurepip.bootstrap()
    os.environ.pop("PIP_CONFIG_FILE", None)
    os.environ.update(settings)
    sys.argv = ["pip", "install", *wanted]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
