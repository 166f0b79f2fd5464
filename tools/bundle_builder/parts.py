"""What there is to build: programs, each from a Go module of `modules/`, and the images they are packed into.

Nothing here is a version: those stand in the modules' go.mod files, and in `PAUSE`, which has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .gomod import GoMod
from .kind_node import FIRST_PROCESS
from .problems import CannotBuild

MODULES = Path(__file__).resolve().parent / "modules"

# The only version without a go.mod line: the program is ours, and carries the version whose place it takes.
PAUSE = "3.10.2"
# Nothing here comes from a git checkout, and a date of its own would make each build another.
NO_COMMIT = "0" * 40
NO_DATE = "2026-01-01T00:00:00Z"

_KUBERNETES = tuple(
    f"{package}.{name}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name in (
        "gitVersion=v{version}",
        "gitMajor={major}",
        "gitMinor={minor}",
        "gitCommit=" + NO_COMMIT,
        "gitTreeState=clean",
        "buildDate=" + NO_DATE,
    )
)


@dataclass(frozen=True)
class Module:
    """One Go module of `modules/`, whose programs are compiled together.

    Attributes:
        name: its folder, and a name for all that is made from it.
        upstream: the module whose version its programs have; empty where the source is ours alone.
        stamps: variables that the linker sets, as ``package.name=value``, so that a program tells upstream's version.
        tags: build tags.
        static_c: links C as well, statically. Otherwise there is no C in it.
        packages: Debian packages that compiling it needs.
    """

    name: str
    upstream: str = ""
    stamps: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    static_c: bool = False
    packages: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return MODULES / self.name

    @property
    def gomod(self) -> GoMod:
        """What its go.mod says."""
        return _read(self.folder / "go.mod")

    @property
    def version(self) -> str:
        """The version of its programs, without ``v``."""
        return self.gomod.version(self.upstream) if self.upstream else PAUSE

    @property
    def source(self) -> str:
        """Where its programs come from, for the manifest."""
        return f"go:{self.upstream}@v{self.version}" if self.upstream else f"tools/bundle_builder/modules/{self.name}"

    def linker_flags(self) -> str:
        """Return the value of ``-ldflags``."""
        major, minor, *_ = self.version.split(".")
        stamps = [stamp.format(version=self.version, major=major, minor=minor) for stamp in self.stamps]
        static = ["-linkmode external", "-extldflags -static"] if self.static_c else []
        return " ".join(["-s -w -buildid=", *static, *(f"-X {stamp}" for stamp in stamps)])

    def inputs(self) -> dict[str, str]:
        """Return name → text of its own files: what a cache key is made of."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_text(encoding="utf-8") for path in files}


@cache
def _read(path: Path) -> GoMod:
    return GoMod.read(path)


@dataclass(frozen=True)
class Program:
    """A program, compiled from a module.

    Attributes:
        name: its name in a bundle and in images.
        module: name of the module.
        package: the package of its `main`; ``.`` where the source is ours.
        kind: kind of artifact it is in a bundle; empty if it only goes into images.
        path: where it lies in a bundle.
    """

    name: str
    module: str
    package: str = "."
    kind: str = ""
    path: str = ""


@dataclass(frozen=True)
class Image:
    """A container image, made of programs and files of Debian packages, from nothing else.

    Attributes:
        name: its name in a bundle.
        repository: its reference without the tag.
        nodes: which nodes of a cluster need it.
        module: whose version is its tag; empty for one made of Debian packages alone.
        tag: the tag, with ``{version}`` in it, or ``{kubernetes}`` for the version of the cluster it is for.
        programs: path in the image → name of the program that lies there.
        entrypoint: what runs in it when nothing else is said.
        user: who it runs as.
        compression: of its layers: ``zstd``, or ``gzip`` for one that others are built on with any docker.
        content: what else is in it: ``nothing``, ``netfilter``, ``busybox``, ``python`` or ``node``, a whole host.
        carries: names of the images in its own containerd's store.
        stop_signal: what ends its first process, where that is not the usual one.
    """

    name: str
    repository: str
    nodes: str
    module: str = ""
    tag: str = "v{version}"
    programs: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    content: str = "nothing"
    compression: str = "zstd"
    carries: tuple[str, ...] = ()
    stop_signal: str = ""

    @property
    def version(self) -> str:
        """The image's tag."""
        if not self.module:
            return self.tag
        return self.tag.format(version=module(self.module).version, kubernetes=module("kubernetes").version)

    @property
    def reference(self) -> str:
        """The full name under which a cluster asks for it."""
        return f"{self.repository}:{self.version}"


MODULE_LIST = (
    Module("kubernetes", "k8s.io/kubernetes", _KUBERNETES),
    Module("etcd", "go.etcd.io/etcd/server/v3", ("go.etcd.io/etcd/api/v3/version.GitSHA=" + NO_COMMIT[:7],)),
    Module("coredns", "github.com/coredns/coredns"),
    Module("pause", stamps=("main.version={version}",)),
    Module("cri-tools", "sigs.k8s.io/cri-tools", ("sigs.k8s.io/cri-tools/pkg/version.Version={version}",)),
    Module(
        "cni-plugins",
        "github.com/containernetworking/plugins",
        ("github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v{version}",),
    ),
    # Its udp backend is C, and without C nothing of it compiles.
    Module(
        "flannel",
        "github.com/flannel-io/flannel",
        ("github.com/flannel-io/flannel/pkg/version.Version=v{version}",),
        # Names are looked up in Go: there is no C library in the image that could do it.
        tags=("netgo", "osusergo"),
        static_c=True,
        packages=("gcc", "libc6-dev"),
    ),
    Module(
        "containerd",
        "github.com/containerd/containerd/v2",
        (
            "github.com/containerd/containerd/v2/version.Version=v{version}",
            "github.com/containerd/containerd/v2/version.Revision=" + NO_COMMIT,
        ),
        tags=("urfave_cli_no_docs", "static_build", "osusergo", "netgo"),
    ),
    Module(
        "runc",
        "github.com/opencontainers/runc",
        ("main.gitCommit=" + NO_COMMIT,),
        tags=("seccomp", "urfave_cli_no_docs", "netgo", "osusergo"),
        static_c=True,
        packages=("gcc", "libc6-dev", "libseccomp-dev", "pkg-config"),
    ),
    Module("kind", "sigs.k8s.io/kind"),
    # Ours, for laboratories; its version is that of the kubelet's interface, which is all there is in it of others.
    Module("gpu-stand-in", "k8s.io/kubelet", ("main.version={version}",)),
    Module(
        "registry",
        "github.com/distribution/distribution/v3",
        (
            "github.com/distribution/distribution/v3/version.version={version}",
            "github.com/distribution/distribution/v3/version.revision=" + NO_COMMIT,
        ),
    ),
    Module(
        "helm",
        "helm.sh/helm/v4",
        (
            "helm.sh/helm/v4/internal/version.version=v{version}",
            "helm.sh/helm/v4/internal/version.gitCommit=" + NO_COMMIT,
            "helm.sh/helm/v4/internal/version.gitTreeState=clean",
        ),
    ),
)


def _binary(name: str, module: str, package: str) -> Program:
    return Program(name, module, package, "binary", f"bin/{name}")


def _plugin(name: str, group: str) -> Program:
    package = f"github.com/containernetworking/plugins/plugins/{group}/{name}"
    return Program(name, "cni-plugins", package, "cni_plugin", f"bin/cni/{name}")


def _runtime(name: str, module: str, package: str) -> Program:
    return Program(name, module, package, "runtime", f"bin/runtime/{name}")


_CONTAINERD = "github.com/containerd/containerd/v2/cmd/"

PROGRAMS = (
    _binary("kubeadm", "kubernetes", "k8s.io/kubernetes/cmd/kubeadm"),
    _binary("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    _binary("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    Program("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Program("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Program("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Program("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy"),
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    _binary("etcdctl", "etcd", "go.etcd.io/etcd/etcdctl/v3"),
    _binary("etcdutl", "etcd", "go.etcd.io/etcd/etcdutl/v3"),
    Program("coredns", "coredns"),
    Program("pause", "pause"),
    _binary("crictl", "cri-tools", "sigs.k8s.io/cri-tools/cmd/crictl"),
    _plugin("bandwidth", "meta"),
    _plugin("bridge", "main"),
    _plugin("firewall", "meta"),
    _plugin("host-local", "ipam"),
    _plugin("loopback", "main"),
    _plugin("portmap", "meta"),
    _plugin("tuning", "meta"),
    Program("flanneld", "flannel", "github.com/flannel-io/flannel"),
    Program("install-conf", "flannel", "github.com/flannel-io/flannel/cmd/install_conf"),
    _runtime("containerd", "containerd", _CONTAINERD + "containerd"),
    _runtime("containerd-shim-runc-v2", "containerd", _CONTAINERD + "containerd-shim-runc-v2"),
    _runtime("ctr", "containerd", _CONTAINERD + "ctr"),
    _runtime("runc", "runc", "github.com/opencontainers/runc"),
    _binary("kind", "kind", "sigs.k8s.io/kind"),
    Program("gpu-stand-in", "gpu-stand-in"),
    _binary("registry", "registry", "github.com/distribution/distribution/v3/cmd/registry"),
    _binary("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
)


def _control_plane(name: str) -> Image:
    path = {f"/usr/local/bin/{name}": name}
    return Image(name, f"registry.k8s.io/{name}", "control_plane", "kubernetes", programs=path)


IMAGES = (
    _control_plane("kube-apiserver"),
    _control_plane("kube-controller-manager"),
    _control_plane("kube-scheduler"),
    Image(
        "etcd",
        "registry.k8s.io/etcd",
        "control_plane",
        "etcd",
        tag="{version}-0",
        programs={f"/usr/local/bin/{name}": name for name in ("etcd", "etcdctl", "etcdutl")},
    ),
    Image(
        "kube-proxy",
        "registry.k8s.io/kube-proxy",
        "all",
        "kubernetes",
        programs={"/usr/local/bin/kube-proxy": "kube-proxy"},
        content="netfilter",
    ),
    Image(
        "coredns",
        "registry.k8s.io/coredns/coredns",
        "all",
        "coredns",
        programs={"/coredns": "coredns"},
        entrypoint=("/coredns",),
    ),
    Image(
        "pause",
        "registry.k8s.io/pause",
        "all",
        "pause",
        tag="{version}",
        programs={"/pause": "pause"},
        entrypoint=("/pause",),
        user="65535:65535",
    ),
    Image(
        "flannel",
        "ghcr.io/flannel-io/flannel",
        "all",
        "flannel",
        programs={"/opt/bin/flanneld": "flanneld", "/opt/bin/install-conf": "install-conf"},
        entrypoint=("/opt/bin/flanneld",),
        content="netfilter",
    ),
    Image(
        "gpu-stand-in",
        "dtf.cluster/gpu-stand-in",
        "none",
        "gpu-stand-in",
        tag="{version}",
        programs={"/gpu-stand-in": "gpu-stand-in"},
        entrypoint=("/gpu-stand-in",),
    ),
    Image("busybox", "dtf.cluster/busybox", "none", tag="1", entrypoint=("/bin/sh",), content="busybox"),
    Image(
        "python",
        "dtf.cluster/python",
        "none",
        tag="3.11",
        entrypoint=("python3",),
        content="python",
        compression="gzip",
    ),
    Image(
        "kind-node",
        "dtf.cluster/kind-node",
        "none",
        "kind",
        tag="v{kubernetes}",
        programs={
            **{f"/usr/local/bin/{name}": name for name in ("kubeadm", "kubelet", "kubectl", "crictl")},
            **{f"/usr/local/bin/{entry.name}": entry.name for entry in PROGRAMS if entry.kind == "runtime"},
            **{f"/opt/cni/bin/{entry.name}": entry.name for entry in PROGRAMS if entry.kind == "cni_plugin"},
        },
        entrypoint=(FIRST_PROCESS,),
        content="node",
        # Most of it is compressed already, and each engine unpacks it once.
        compression="gzip-fast",
        carries=(
            *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kube-proxy", "coredns", "pause"),
        ),
        stop_signal="SIGRTMIN+3",
    ),
)

Part = Program | Image


def module(name: str) -> Module:
    """Return the module of that name."""
    return next(entry for entry in MODULE_LIST if entry.name == name)


def image(name: str) -> Image:
    """Return the image of that name."""
    return next(entry for entry in IMAGES if entry.name == name)


def program(name: str) -> Program:
    """Return the program of that name."""
    return next(entry for entry in PROGRAMS if entry.name == name)


def names() -> list[str]:
    """Return every name that can be asked for."""
    return sorted({entry.name for entry in (*MODULE_LIST, *PROGRAMS, *IMAGES)} | {"images"})


def chosen(wanted: list[str]) -> list[Part]:
    """Return the artifacts that some names mean, in the order in which they are built; all for no name.

    A name means the artifacts called so and those of the module called so; ``images`` means every image. A program
    that is in images only means those.
    """
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        raise CannotBuild(f"no part is called {', '.join(map(repr, unknown))}; accepted: {', '.join(names())}")
    asked = set(wanted)

    def means(part: Part) -> bool:
        image = isinstance(part, Image)
        inside = set(part.programs.values()) if isinstance(part, Image) else set()
        only_inside = {name for name in inside if not program(name).kind}
        return not asked or bool(
            {part.name, part.module} & asked or only_inside & asked or (image and "images" in asked)
        )

    return [part for part in _in_order() if means(part) and (isinstance(part, Image) or part.kind)]


def _in_order() -> list[Part]:
    """Return every part, the modules one after the other, each with its images: what is started can soon be used."""
    order = [*(entry.name for entry in MODULE_LIST), ""]
    return sorted((*PROGRAMS, *IMAGES), key=lambda part: order.index(part.module))


def compiled(wanted: list[Part]) -> list[Program]:
    """Return the programs that have to be there for some artifacts, in the order in which they are compiled."""
    images = [part for part in wanted if isinstance(part, Image)]
    images += [image(name) for part in images for name in part.carries]
    inside = {name for part in images for name in part.programs.values()}
    return [entry for entry in PROGRAMS if entry in wanted or entry.name in inside]
