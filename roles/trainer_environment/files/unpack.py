"""Writes a package of Python modules: all of it, or nothing.

Argument: the folder that is to hold the package's folder. Standard input: ``{package: {file name: text}}`` as JSON.
"""

import compileall
import json
import sys
import tempfile
from pathlib import Path

target = Path(sys.argv[1])
target.parent.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory(prefix=".partial-", dir=str(target.parent)) as staging:
    whole = Path(staging, "whole")
    for package, modules in json.load(sys.stdin).items():
        (whole / package).mkdir(parents=True)
        for name, text in modules.items():
            (whole / package / name).write_text(text, encoding="utf-8")
    whole.rename(target)
# Tasks that start together would each compile the same modules; and they may not be allowed to keep the result.
compileall.compile_dir(str(target), quiet=1)
