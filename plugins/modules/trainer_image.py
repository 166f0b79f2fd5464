#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: the trainer's image, built once for each content, in a registry or an archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trainer_image
short_description: Build the trainer's image and bring it where a cluster gets it from
version_added: 0.1.0
description:
  - Builds an image with docker, podman or buildah from a Containerfile, wheels, the trainer's package and data sets.
    No step of the build asks a network.
  - The image's tag is the digest of all that it is made of. If it was built before, nothing is built; if the registry
    has it, nothing is pushed.
  - The layers are compressed here, each once, and not by the builder, so that registry and archive have the same image
    with the same digest, whichever builder made it.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  containerfile:
    description: Folder with the C(Containerfile) and the C(install.py) that it runs.
    type: path
    required: true
  requirements:
    description: File with the pins of the packages, one C(name==version) a line.
    type: path
    required: true
  wheels:
    description: Folder with a wheel for each pin, as M(dtf.cluster.wheels) leaves it.
    type: path
    required: true
  package:
    description: Folder C(dtf_trainer), the trainer's package.
    type: path
    required: true
  data:
    description: Name of a data set to the folder of its files, which become C(/data/<name>) in the image.
    type: dict
    default: {}
  base:
    description: Image that this one is built on. It has a C(python3) of the version that the wheels are for.
    type: str
    required: true
  base_archive:
    description:
      - File with the base, as C(docker save) writes one. Where there is such a file it is the base.
    type: path
  repository:
    description: Name of the image, without registry and tag.
    type: str
    default: dtf.cluster/trainer
  builder:
    description: Program that builds. V(auto) takes the first of docker, podman and buildah that works.
    type: str
    default: auto
    choices: [auto, docker, podman, buildah]
  builder_args:
    description: More options for the builder's C(build), such as C(--isolation=chroot).
    type: list
    elements: str
    default: []
  builder_environment:
    description: Environment of the builder, such as C(https_proxy) for pulling the base or C(DOCKER_HOST).
    type: dict
    default: {}
  compression:
    description: How layers are compressed. V(auto) is zstd if the host can do it, else gzip.
    type: str
    default: auto
    choices: [auto, zstd, gzip]
  registry:
    description: Registry that the image is pushed to.
    type: dict
    suboptions:
      host:
        description: Its C(host) or C(host:port). Empty pushes nothing.
        type: str
        required: true
      ca:
        description: File with the certificate authorities that it is trusted by. Without it, the system's.
        type: path
      plain:
        description: Whether it speaks HTTP without TLS.
        type: bool
        default: false
      username:
        description: Name to push with.
        type: str
        default: ""
      password:
        description: Password to push with.
        type: str
        default: ""
  bundle:
    description:
      - Folder for an archive of the image and a C(manifest.json), from which M(dtf.cluster.node_bundle) brings it to
        nodes. Empty writes none.
    type: path
  result:
    description: File in which the image's reference, digest, sizes and layers are written down.
    type: path
    required: true
  cache:
    description: Folder for compressed layers. Empty is C(~/.cache/dtf/image), or C(dtf/image) in C(XDG_CACHE_HOME).
    type: path
attributes:
  check_mode:
    description: Tells whether an image would be built, pushed or written. Asks builder and registry, changes neither.
    support: full
  diff_mode:
    description: Shows the result file before and after.
    support: full
seealso:
  - module: dtf.cluster.wheels
  - module: dtf.cluster.node_bundle
"""

EXAMPLES = r"""
- name: Build the trainer's image and push it
  dtf.cluster.trainer_image:
    containerfile: /srv/dtf/context
    requirements: /srv/dtf/requirements.txt
    wheels: /srv/dtf/wheels
    package: /srv/dtf/dtf_trainer
    data: {mnist: /srv/data/mnist}
    base: docker.io/library/python:3.11-slim
    registry: {host: "registry.example:5000", ca: /etc/ssl/site-ca.pem}
    result: /srv/dtf/trainer-image.json
"""

RETURN = r"""
reference:
  description: Name by which a cluster asks for the image. With a registry it ends in the digest.
  returned: success
  type: str
  sample: registry.example:5000/dtf.cluster/trainer@sha256:5f9e…
tagged:
  description: The same name with the tag, which is the digest of what the image is made of.
  returned: success
  type: str
  sample: registry.example:5000/dtf.cluster/trainer:5f9e741041dcae26
digest:
  description: Digest of the image's manifest. Empty in check mode if it is not built yet.
  returned: success
  type: str
  sample: sha256:5f9e…
built:
  description: Whether it was built, or in check mode would be.
  returned: success
  type: bool
pushed:
  description: Digests of the layers that were sent to the registry; V(all) in check mode if an image would be pushed.
  returned: success
  type: list
  elements: str
  sample: []
size:
  description: Bytes of the compressed layers.
  returned: success
  type: int
  sample: 240000000
unpacked:
  description: Bytes of the layers on a node.
  returned: success
  type: int
  sample: 1020000000
layers:
  description: What each layer holds, its digest, and its bytes compressed and unpacked.
  returned: success
  type: list
  elements: dict
  sample: [{name: trainer, digest: "sha256:90c8…", size: 160000, unpacked: 560000}]
table:
  description: The same for people.
  returned: success
  type: list
  elements: str
  sample: ["layer       compressed    unpacked"]
"""

import json
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.validation import check_type_path

from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.host_files import read, sha256, write
from ..module_utils.image_builders import BUILDERS, Builder, choose
from ..module_utils.image_layout import Store, compressions
from ..module_utils.image_plan import (
    INSTALLER,
    LONG_AGO,
    content_tag,
    is_registry,
    is_repository,
    pins,
    table,
    wheel_of,
)
from ..module_utils.image_push import Registry

SCHEMA = "dtf.image/1"
#: Versions of the image whose layers stay in the cache.
KEPT = 3
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Image:
    """What is asked for, what there is, and the way from one to the other."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.problems: list[Problem] = []
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(self.params["cache"] or Path(base) / "dtf" / "image")
        self.store = Store(cache)
        self.compression = compressions()[0] if self.params["compression"] == "auto" else self.params["compression"]
        self._builder: Builder | None = None

    @property
    def host(self) -> str:
        """The registry's name, empty for none."""
        return str((self.params["registry"] or {}).get("host") or "")

    @property
    def builder(self) -> Builder:
        """The program that builds here; it is looked for when it is needed."""
        if self._builder is None:
            environment = {name: str(text) for name, text in self.params["builder_environment"].items()}
            self._builder = choose(self.params["builder"], self.params["builder_args"], environment)
        return self._builder

    def inputs(self) -> dict[str, Path]:
        """Return path in the context → file, of all that the image is made of; raise with all that is wrong."""
        folder = Path(self.params["containerfile"])
        files = {name: folder / name for name in ("Containerfile", "install.py")}
        self.problems += [
            Problem("containerfile", str(folder), f"a folder with a file {name}")
            for name, path in files.items()
            if not path.is_file()
        ]
        files.update(self._wheels())
        package = Path(self.params["package"])
        modules = {f"trainer/dtf_trainer/{path.name}": path for path in package.glob("*.py")}
        if "trainer/dtf_trainer/__main__.py" not in modules:
            self.problems.append(Problem("package", str(package), "the folder dtf_trainer of the trainer"))
        files.update(modules)
        for name, place in self.params["data"].items():
            folder = Path(check_type_path(place))
            found = {f"data/{name}/{path.name}": path for path in folder.glob("[!.]*") if path.is_file()}
            if not found:
                accepted = "a folder with the files of the data set; the role dataset fills one"
                self.problems.append(Problem(f"data.{name}", place, accepted))
            files.update(found)
        self._check_words()
        if self.problems:
            raise InvalidInput("the trainer's image", self.problems)
        return files

    def _wheels(self) -> dict[str, Path]:
        folder = Path(self.params["wheels"])
        text = read(Path(self.params["requirements"]))
        if text is None:
            self.problems.append(Problem("requirements", self.params["requirements"], "a file with pins"))
        chosen, wrong = pins(text or "")
        self.problems += [Problem("requirements", line, "name==version") for line in wrong]
        names = [path.name for path in folder.glob("*.whl")]
        found = {str(pin): wheel_of(pin, names) for pin in [*chosen, INSTALLER]}
        lacking = sorted(pin for pin, name in found.items() if name is None)
        if lacking and not self.module.check_mode:
            accepted = "a folder with a wheel of each pin; it has none of {}".format(", ".join(lacking))
            self.problems.append(Problem("wheels", str(folder), accepted))
        return {f"wheels/{name}": folder / name for name in found.values() if name}

    def _check_words(self) -> None:
        if not is_repository(self.params["repository"]):
            accepted = "lower case letters, digits and . _ - between them, parts separated by /"
            self.problems.append(Problem("repository", self.params["repository"], accepted))
        registry = self.params["registry"] or {}
        if self.host and not is_registry(self.host):
            self.problems.append(Problem("registry.host", self.host, "host or host:port"))
        if registry.get("ca") and not Path(registry["ca"]).is_file() and not self.module.check_mode:
            self.problems.append(Problem("registry.ca", registry["ca"], "a file with certificates in PEM"))
        if platform.machine() not in _MACHINES:
            self.problems.append(Problem("the build host", platform.machine(), " or ".join(_MACHINES)))

    @property
    def waits_for_registry(self) -> bool:
        """Whether the registry's authority is yet to be made, as it may be in check mode."""
        ca = str((self.params["registry"] or {}).get("ca") or "")
        return bool(ca) and not Path(ca).is_file()

    @property
    def archive(self) -> Path | None:
        """The file with the base, if there is one."""
        path = Path(self.params["base_archive"] or "")
        return path if path.is_file() else None

    def base(self) -> tuple[str, str]:
        """Return the base's name and what stands for its content; nothing for that where only a pull would tell."""
        if self.archive is not None:
            return named(self.archive), sha256(self.archive)
        return self.params["base"], self.builder.identity(self.params["base"])

    def tag(self, files: Mapping[str, Path], identity: str) -> str:
        """Return the digest of all that the image is made of."""
        digests = {name: sha256(path) for name, path in sorted(files.items())}
        return content_tag({"base": identity, "architecture": _MACHINES[platform.machine()], "files": digests})

    def build(self, files: Mapping[str, Path], base: str, tag: str) -> dict[str, Any]:
        """Build the image and keep its layers."""
        if self.archive is not None:
            self.builder.load(self.archive)
        name = local_name(tag)
        self.store.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.store.folder, prefix=".tmp-") as scratch:
            context = Path(scratch) / "context"
            lay_out(files, context)
            self.builder.build(context, base, name)
            saved = Path(scratch) / "saved.tar"
            self.builder.save(name, saved)
            record = self.store.keep(tag, self.compression, saved)
        for old in self.store.forget(KEPT):
            self.builder.remove(local_name(old))
        return record

    def registry(self) -> Registry:
        """Return the registry that is pushed to."""
        given = self.params["registry"]
        return Registry(self.host, given["ca"] or "", given["plain"], given["username"] or "", given["password"] or "")

    def reference(self, tag: str, digest: str) -> tuple[str, str]:
        """Return the name that a cluster asks for, and the one with the tag."""
        name = "/".join(part for part in (self.host, self.params["repository"]) if part)
        # A runtime knows an image that was imported by its tag; who pulls one asks for the digest.
        return (f"{name}@{digest}" if self.host and digest else f"{name}:{tag}"), f"{name}:{tag}"

    def exported(self, record: Mapping[str, Any], tagged: str) -> bool:
        """Tell whether the archive is there and is this image's."""
        folder = Path(self.params["bundle"])
        artifacts = json.loads(read(folder / "manifest.json") or '{"artifacts": []}')["artifacts"]
        return any(
            entry.get("digest") == record["manifest"]["digest"]
            and entry.get("reference") == tagged
            and (folder / entry["path"]).is_file()
            and (folder / entry["path"]).stat().st_size == entry["size"]
            for entry in artifacts
        )

    def export(self, record: Mapping[str, Any], tagged: str, tag: str) -> None:
        """Write the archive and the manifest that says what it is."""
        folder = Path(self.params["bundle"])
        path = folder / "images" / "trainer.tar"
        digest = self.store.archive(record, tagged, path)
        artifact = {
            "name": "trainer",
            "kind": "image",
            "version": tag,
            "path": "images/trainer.tar",
            "sha256": digest,
            "size": path.stat().st_size,
            "source": "role:trainer_image",
            "reference": tagged,
            "digest": record["manifest"]["digest"],
            "nodes": "all",
        }
        document = {"schema": "dtf.bundle/1", "architecture": record["architecture"], "artifacts": [artifact]}
        write(folder / "manifest.json", json.dumps(document, indent=2) + "\n")


def local_name(tag: str) -> str:
    """Return what an image is called on the build host."""
    return f"localhost/dtf-trainer:{tag}"


def named(archive: Path) -> str:
    """Return the name that an archive of docker's gives its image."""
    try:
        with tarfile.open(archive) as opened:
            found = opened.extractfile("manifest.json")
            return str(json.load(found)[0]["RepoTags"][0]) if found else ""
    except (tarfile.TarError, KeyError, IndexError, TypeError, ValueError) as error:
        accepted = f"an image with a name as `docker save` writes one ({error!r})"
        raise InvalidInput("the trainer's image", [Problem("base_archive", str(archive), accepted)]) from error


def lay_out(files: Mapping[str, Path], context: Path) -> None:
    """Put the files where the Containerfile looks for them."""
    for name in ("wheels", "trainer", "data"):
        (context / name).mkdir(parents=True)
    for name, source in files.items():
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o644)
        os.utime(target, (LONG_AGO, LONG_AGO))
    for folder in sorted(path for path in context.rglob("*") if path.is_dir()):
        folder.chmod(0o755)
        os.utime(folder, (LONG_AGO, LONG_AGO))


def described(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is known of an image's bytes."""
    layers = list(record["layers"]) if record else []
    return {
        "digest": record["manifest"]["digest"] if record else "",
        "size": sum(layer["size"] for layer in layers),
        "unpacked": sum(layer["unpacked"] for layer in layers),
        "layers": [{name: layer[name] for name in ("name", "digest", "size", "unpacked")} for layer in layers],
    }


def present(image: Image) -> dict[str, Any]:
    """Bring the image where it should be; in check mode, tell what that would take."""
    check = image.module.check_mode
    files = image.inputs()
    base, identity = image.base()
    if not identity and not check:
        image.builder.pull(base)
        identity = image.builder.identity(base)
    tag = image.tag(files, identity) if identity else "unknown"
    record = image.store.find(tag, image.compression)
    built = record is None
    if record is None and not check:
        record = image.build(files, base, tag)
    facts = described(record)
    reference, tagged = image.reference(tag, facts["digest"])
    pushed: list[str] = []
    push = False
    if image.host:
        repository = image.params["repository"]
        # Before the first registry is made, in check mode, nobody can be asked.
        push = record is None or image.waits_for_registry or not image.registry().has(repository, facts["digest"], tag)
        if push and check:
            pushed = ["all"]
        elif push and record is not None:
            pushed = image.registry().push(image.store, record, repository, tag)
    export = bool(image.params["bundle"]) and (record is None or not image.exported(record, tagged))
    if export and record is not None and not check:
        image.export(record, tagged, tag)
    path = Path(image.params["result"])
    before = read(path) or ""
    archive = str(Path(image.params["bundle"]) / "images" / "trainer.tar") if image.params["bundle"] else ""
    names = {"reference": reference, "tagged": tagged, "archive": archive, "base": base}
    after = {"schema": SCHEMA, **names, **facts}
    text = json.dumps(after, indent=2) + "\n"
    if text != before and not check:
        write(path, text)
    return {
        "changed": built or push or export or text != before,
        "built": built,
        "pushed": pushed,
        "reference": reference,
        "tagged": tagged,
        **facts,
        "table": table(facts["layers"]).splitlines(),
        "diff": {"before": before, "after": text, "before_header": str(path), "after_header": str(path)},
    }


def main() -> None:
    """Read the arguments, do it, tell the result."""
    module = AnsibleModule(
        argument_spec={
            "containerfile": {"type": "path", "required": True},
            "requirements": {"type": "path", "required": True},
            "wheels": {"type": "path", "required": True},
            "package": {"type": "path", "required": True},
            "data": {"type": "dict", "default": {}},
            "base": {"type": "str", "required": True},
            "base_archive": {"type": "path"},
            "repository": {"type": "str", "default": "dtf.cluster/trainer"},
            "builder": {"type": "str", "default": "auto", "choices": ["auto", *BUILDERS]},
            "builder_args": {"type": "list", "elements": "str", "default": []},
            "builder_environment": {"type": "dict", "default": {}},
            "compression": {"type": "str", "default": "auto", "choices": ["auto", "zstd", "gzip"]},
            "registry": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "ca": {"type": "path"},
                    "plain": {"type": "bool", "default": False},
                    "username": {"type": "str", "default": ""},
                    "password": {"type": "str", "default": "", "no_log": True},
                },
            },
            "bundle": {"type": "path"},
            "result": {"type": "path", "required": True},
            "cache": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        answer = present(Image(module))
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    except OSError as error:
        module.fail_json(msg=str(error), failure={"code": "host_refused", "message": str(error), "details": {}})
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
