"""The image is built once for each content, alike by every builder, and pushed once; a task runs in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import jsonschema
import pytest

from .conftest import BUNDLE, CACHE, REQUIREMENTS, ROOT, Played, play

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

#: What the tests have left in a builder: its name, and the image's tag.
MADE: set[tuple[str, str]] = set()
LAYERS = ["base", "tensorflow", "packages", "byte code of Python's library", "data", "trainer"]


class Small:
    """An image with one package in place of TensorFlow: everything about it but its size is as it is."""

    def __init__(self, folder: Path, builder: str) -> None:
        self.folder = folder
        self.package = folder / "dtf_trainer"
        self.requirements = folder / "requirements.txt"
        shutil.copytree(ROOT / "trainer" / "dtf_trainer", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        pin = next(line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if line.startswith("six=="))
        self.requirements.write_text(pin + "\n", encoding="utf-8")
        (folder / "data").mkdir()
        for path in (CACHE / "data").glob("[!.]*"):
            shutil.copy(path, folder / "data")
        self.options: dict[str, Any] = {
            "containerfile": str(ROOT / "roles" / "trainer_image" / "files" / "context"),
            "requirements": str(self.requirements),
            "wheels": str(CACHE / "wheels"),
            "package": str(self.package),
            "data": {"mnist": str(folder / "data")},
            "base": "dtf.cluster/python:3.11",
            "base_archive": str(BUNDLE / "images" / "python.tar"),
            "builder": builder,
            "builder_args": ["--isolation=chroot"] if builder == "buildah" else [],
            "result": str(folder / "trainer.json"),
            "cache": str(folder / "cache"),
        }

    def make(self, *options: str, **more: Any) -> Played:
        """Run the module."""
        wheels = {"path": str(CACHE / "wheels"), "requirements": str(self.requirements)}
        tasks = [{"dtf.cluster.wheels": wheels}, {"dtf.cluster.trainer_image": {**self.options, **more}}]
        return play(self.folder, {"tasks": tasks}, *options)

    def made(self, *options: str, **more: Any) -> dict[str, Any]:
        """Run the module, which has to succeed; return its answer."""
        played = self.make(*options, **more)
        assert played.code == 0, played.printed
        MADE.add((self.options["builder"], played.answer["tagged"].rpartition(":")[2]))
        return played.answer


@pytest.fixture(scope="module", autouse=True)
def data() -> Iterator[None]:
    """Have the data set where the tests keep it, and leave no small images behind."""
    command = [sys.executable, "-m", "dtf_trainer", "--download_only"]
    subprocess.run([*command, f"--data_dir={CACHE / 'data'}"], cwd=ROOT / "trainer", check=True)
    yield
    for builder, tag in MADE:
        subprocess.run([builder, "rmi", f"localhost/dtf-trainer:{tag}"], check=False, capture_output=True)


def test_built_once_alike_by_all_and_pushed_once(tmp_path: Path, builder: str, registry: str) -> None:
    small = Small(tmp_path / "one", builder)
    where = {"registry": {"host": registry, "plain": True}, "bundle": str(tmp_path / "bundle")}

    foretold = small.made("--check", **where)
    assert (foretold["changed"], foretold["built"], foretold["pushed"]) == (True, True, ["all"])
    assert not Path(small.options["result"]).exists()

    first = small.made(**where)
    assert first["built"]
    assert [layer["name"] for layer in first["layers"]] == LAYERS
    assert first["pushed"] == [layer["digest"] for layer in first["layers"]]
    assert first["reference"] == f"{registry}/dtf.cluster/trainer@{first['digest']}"
    assert served(first["reference"]) == first["digest"]
    document = json.loads(Path(small.options["result"]).read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "image.schema.json").read_text(encoding="utf-8")))
    assert document["digest"] == first["digest"]
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    jsonschema.validate(manifest, json.loads((ROOT / "schemas" / "bundle.schema.json").read_text(encoding="utf-8")))

    again = small.made(**where)
    assert (again["changed"], again["built"], again["pushed"]) == (False, False, [])
    assert again["digest"] == first["digest"]

    # A file more is another last layer, and nothing else goes over the wire.
    (small.package / "more.py").write_text("answer = 42\n", encoding="utf-8")
    other = small.made(**where)
    assert other["built"]
    assert other["layers"][:-1] == first["layers"][:-1]
    assert other["pushed"] == [other["layers"][-1]["digest"]]
    assert other["tagged"] != first["tagged"]
    (small.package / "more.py").unlink()

    # And back: that image is still known.
    back = small.made(**where)
    assert (back["built"], back["pushed"], back["digest"]) == (False, [], first["digest"])


def served(reference: str) -> str:
    """Return the digest under which a registry has an image."""
    host, _slash, rest = reference.partition("/")
    name, _at, digest = rest.partition("@")
    kind = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    asked = Request(f"http://{host}/v2/{name}/manifests/{digest}", method="HEAD", headers=kind)
    with urlopen(asked, timeout=10) as reply:
        return str(reply.headers["Docker-Content-Digest"])


def test_builders_agree(tmp_path: Path, docker: str) -> None:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    digests = {Small(tmp_path / name, name).made()["digest"] for name in (docker, "buildah")}
    assert len(digests) == 1


def test_a_damaged_data_set_is_refused_while_building(tmp_path: Path, docker: str) -> None:
    small = Small(tmp_path / "one", docker)
    labels = small.folder / "data" / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[100] = (content[100] + 1) % 10
    labels.write_bytes(content)
    played = small.make()
    assert played.code != 0
    assert played.answer["failure"]["code"] == "builder_failed"
    assert "the data set mnist cannot be used" in played.answer["msg"]
    assert not Path(small.options["result"]).exists()


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, docker: str) -> None:
    small = Small(tmp_path / "one", docker)
    wrong = {
        "repository": "Trainer",
        "registry": {"host": "https://registry", "ca": str(tmp_path / "none.pem")},
        "data": {"mnist": str(tmp_path / "nothing")},
        "package": str(tmp_path / "nothing"),
    }
    failure = small.make(**wrong).answer["failure"]
    fields = ["package", "data.mnist", "repository", "registry.host", "registry.ca"]
    assert [problem["field"] for problem in failure["problems"]] == fields


def test_a_registry_that_is_not_there(tmp_path: Path, docker: str) -> None:
    small = Small(tmp_path / "one", docker)
    # Nobody listens on port 1.
    answer = small.make(registry={"host": "127.0.0.1:1", "plain": True}).answer
    assert answer["failure"]["code"] == "registry_unreachable"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, docker: str) -> tuple[str, dict[str, Any]]:
    """The image as the role makes it: its name in docker, and what the role wrote down."""
    folder = tmp_path_factory.mktemp("whole")
    result = folder / "trainer.json"
    variables = {
        "dtf_bundle": str(BUNDLE),
        "trainer_image_result": str(result),
        "trainer_image_data": {"mnist": str(CACHE / "data")},
        "trainer_image_builder": docker,
        "trainer_image_bundle_dir": "",
    }
    content = {"roles": ["dtf.cluster.trainer_image"]}
    for _attempt in range(2):
        played = play(folder, content, **variables)
        assert played.code == 0, played.printed
        document: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        tag = document["tagged"].rpartition(":")[2]
        name = f"localhost/dtf-trainer:{tag}"
        if subprocess.run([docker, "image", "inspect", name], check=False, capture_output=True).returncode == 0:
            break
        # The layers are known, but docker has been cleared: it builds again.
        for record in (CACHE / "image" / "images").glob(f"{tag}-*.json"):
            record.unlink()
    again = play(folder, content, **variables)
    assert again.changed == 0, again.printed
    return name, document


def inside(image: str, *command: str, python: str = "") -> str:
    """Return what a container prints: no network, a root that cannot be written, nothing but its user's rights."""
    options = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL"]
    options += ["--entrypoint", "python3"] if python else []
    words = ["-c", python] if python else list(command)
    done = subprocess.run(["docker", "run", *options, image, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_task_says_its_version_and_finds_its_data(whole: tuple[str, dict[str, Any]]) -> None:
    assert inside(whole[0], "--version").startswith("dtf_trainer ")
    verified = inside(whole[0], "--verify_only", "--data_dir=/data/mnist")
    assert verified.count('"event":"verified"') == 4


def test_who_runs_in_it(whole: tuple[str, dict[str, Any]]) -> None:
    program = "import os, shutil; print(os.getuid(), os.getgid(), shutil.which('sh'), os.environ['HOME'])"
    assert inside(whole[0], python=program).split() == ["1000", "1000", "None", "/tmp"]


def test_all_of_tensorflow_is_there_compiled(whole: tuple[str, dict[str, Any]]) -> None:
    program = """
import importlib._bootstrap_external as loader
made = []
compile_source = loader.SourceLoader.source_to_code
loader.SourceLoader.source_to_code = lambda *words, **more: made.append(words[2]) or compile_source(*words, **more)
from dtf_trainer import tf_api
api = tf_api.load()
tensorflow = tf_api.public()
print(api.lean, tensorflow.keras.Sequential is not None, made)
"""
    assert inside(whole[0], python=program).split("\n")[0] == "True True []"


def test_it_trains(whole: tuple[str, dict[str, Any]]) -> None:
    program = """
import subprocess, sys
words = ["--ps_hosts=localhost:8000", "--worker_hosts=localhost:9000", "--train_steps=200", "--data_dir=/data/mnist"]
task = [sys.executable, "-m", "dtf_trainer", *words, "--job_name"]
tasks = [subprocess.Popen([*task, role]) for role in ("ps", "worker")]
sys.exit(any(task.wait() for task in tasks))
"""
    printed = inside(whole[0], python=program)
    assert '"event":"finished"' in printed
    assert '"global_step":200' in printed


def test_its_size_is_told(whole: tuple[str, dict[str, Any]]) -> None:
    document = whole[1]
    assert [layer["name"] for layer in document["layers"]] == LAYERS
    assert document["size"] == sum(layer["size"] for layer in document["layers"]) < 300e6
    assert document["unpacked"] == sum(layer["unpacked"] for layer in document["layers"]) < 1100e6
