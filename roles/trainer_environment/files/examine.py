"""Says, as one JSON object, what a host has of the trainer's environment. Reads only; runs in any Python from 3.6 on.

Argument: the folder of the role. ``~`` is the home of whoever runs this.
"""

import importlib.util
import json
import platform
import sys
from pathlib import Path

root = Path(sys.argv[1]).expanduser().absolute()
environments = root / "environments"
venv = root / "venv"
paths = [path.read_text().strip() for path in venv.glob("lib/python*/site-packages/dtf_trainer.pth")]

print(
    json.dumps(
        {
            "dir": str(root),
            "platform": f"{platform.system()}-{platform.machine()}",
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "can_make_venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
            # The requirements are written last: without them an environment is not whole.
            "environments": sorted(path.parent.name for path in environments.glob("*/requirements.txt")),
            "all_environments": sorted(path.name for path in environments.glob("*")),
            "packages": sorted(path.name for path in root.glob("packages/*")),
            "environment_in_use": venv.resolve().name if venv.is_symlink() else "",
            "package_in_use": Path(paths[0]).name if paths else "",
        }
    )
)
