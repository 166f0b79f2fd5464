"""Runs `ansible-test sanity` and the documentation's lint on the collection as a user would install it.

The artifact is built and unpacked outside the checkout, for two reasons: ansible-test ignores links, and below a
repository it would look only at what git knows. Whatever the two linters need is kept in a home folder of their own
(`~/.cache/dtf/sanity`), so that neither the user's home nor this checkout's environment is changed, and a second run
finds everything there.
"""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import artifact

ROOT = Path(__file__).resolve().parents[1]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# What ansible-test of the pinned ansible-core asks for (`infrastructure_packages`); a test compares the two.
PIP_VERSION = "24.2"
BOOTSTRAP_ADDRESS = f"https://ci-files.testing.ansible.com/ansible-test/get-pip-{PIP_VERSION}.py"

# The trainer is shipped with the collection, but it is a program of its own that Ansible never imports. Ansible's rules
# for its plugins (no `_` for a value nobody wants, for one) are not its rules; ruff and mypy check it.
EXCLUDED = ("--exclude", "trainer/")


def pip_settings() -> dict[str, str]:
    """Return the user's settings of pip, from its files, PIP_* and the proxy variables, by their names in a pip.conf.

    ansible-test hands none of these on to the pip it starts: without them nothing is found behind a proxy or a mirror.
    """
    pip = [sys.executable, "-m", "pip"]
    cache = subprocess.run([*pip, "cache", "dir"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    settings = {"cache-dir": cache}
    listed = subprocess.run([*pip, "config", "list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in {"global", "install", ":env:"} and option not in {
            "require-virtualenv",
            "user",
            "target",
            "prefix",
        }:
            settings[option] = str(ast.literal_eval(value))
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy:
        settings.setdefault("proxy", proxy)
    return settings


def prepare_home(home: Path) -> None:
    """Put pip's settings and its bootstrap script where the pinned ansible-test looks for them below `home`."""
    parser = configparser.ConfigParser(interpolation=None)
    parser["global"] = pip_settings()
    pip_conf = home / ".config" / "pip" / "pip.conf"
    pip_conf.parent.mkdir(parents=True, exist_ok=True)
    with pip_conf.open("w", encoding="utf-8") as stream:
        parser.write(stream)

    bootstrap = home / ".ansible" / "test" / "cache" / f"get_pip_{PIP_VERSION.replace('.', '_')}.py"
    if bootstrap.exists():
        return
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(BOOTSTRAP_ADDRESS, timeout=10) as response:
            content = response.read()
    except (urllib.error.URLError, TimeoutError) as error:
        # Many a place reaches a package index and nothing else; there, and only there, our own script does.
        print(f"{BOOTSTRAP_ADDRESS}: {error}; using tools/get_pip.py in its place", flush=True)
        content = (ROOT / "tools" / "get_pip.py").read_bytes()
    bootstrap.write_bytes(content)


def stage(folder: Path) -> Path:
    """Install the built artifact below `folder` and add what tells ansible-test how to look at it; return its root."""
    collection = artifact.install(artifact.build(folder), folder)
    tests = collection / "tests"
    tests.mkdir()
    shutil.copy(ROOT / "tests" / "config.yml", tests)
    return collection


def main() -> int:
    """Run both, even if the first one found something; return the exit code."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtf" / "sanity"
    prepare_home(home)
    with tempfile.TemporaryDirectory(prefix="dtf-sanity-") as name:
        collection = stage(Path(name))
        environment = artifact.environment(HOME=str(home), XDG_CONFIG_HOME=str(home / ".config"))
        commands = (
            ["ansible-test", "sanity", "--python", PYTHON, "--color", "no", *EXCLUDED, *sys.argv[1:]],
            ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "."],
        )
        codes = []
        for command in commands:
            print("$", *command, flush=True)
            call = [artifact.command(command[0]), *command[1:]]
            codes.append(subprocess.run(call, cwd=collection, env=environment, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
