"""What a go.mod file says: the versions in it are the only place where they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .problems import CannotBuild


@dataclass(frozen=True)
class GoMod:
    """The lines of a go.mod file that a build depends on.

    Attributes:
        path: the file.
        toolchain: the Go release that compiles it (``go1.26.8``).
        requires: module → version.
        replaces: module → version of its replacement under the same name.
    """

    path: Path
    toolchain: str
    requires: dict[str, str]
    replaces: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> GoMod:
        """Read a file; one without a toolchain would compile differently on each machine and is refused."""
        lines = [line.split("//")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
        requires: dict[str, str] = {}
        replaces: dict[str, str] = {}
        toolchain = ""
        block = ""
        for words in lines:
            if words == [")"]:
                block = ""
            elif len(words) == 2 and words[1] == "(":
                block = words[0]
            elif words[:1] == ["toolchain"]:
                toolchain = words[1]
            else:
                match [block, *words] if block else words:
                    case ["require", name, version]:
                        requires[name] = version
                    case ["replace", name, "=>", _, version] | ["replace", name, _, "=>", _, version]:
                        replaces[name] = version
        if not re.fullmatch(r"go\d+\.\d+\.\d+", toolchain):
            raise CannotBuild(f"{path}: no line `toolchain go1.N.M`, which pins the compiler")
        return cls(path, toolchain, requires, replaces)

    def version(self, module: str) -> str:
        """Return the version of a required module without its ``v``."""
        try:
            return self.requires[module].removeprefix("v")
        except KeyError:
            raise CannotBuild(f"{self.path}: no version of {module}; accepted: `require {module} v1.2.3`") from None


def local(text: str) -> list[str]:
    """Return the modules that a go.mod replaces by folders beside it."""
    return re.findall(r"^(?:replace)?\s*(\S+) => \./\S+$", text, re.MULTILINE)


def rewritten(text: str, version: str, staged: list[str]) -> str:
    """Return a go.mod with another version of what it asks for itself; what follows from that is left out.

    Args:
        text: the file as it is.
        version: the version, with its ``v``.
        staged: modules to replace by themselves, at the version that belongs to it (``v0.`` for ``v1.``).
    """
    lines = [line for line in text.splitlines() if not line.rstrip().endswith("// indirect")]
    text = re.sub(r"require \(\s*\)\n+", "", "\n".join(lines) + "\n")
    block = False
    lines = []
    for line in text.splitlines():
        block = line == "require (" or (block and line != ")")
        if line.startswith("require ") or block:
            line = re.sub(r" v\d\S*$", f" {version}", line)  # noqa: PLW2901 (the line as it is written)
        lines.append(line)
    text = "\n".join(lines) + "\n"
    if staged:
        beside = re.sub(r"^v1\.", "v0.", version)
        listed = "".join(f"\t{name} => {name} {beside}\n" for name in staged)
        text = re.sub(r"replace \(\n.*?\)\n", lambda _: f"replace (\n{listed})\n", text, flags=re.DOTALL)
    return re.sub(r"\n{3,}", "\n\n", text)
