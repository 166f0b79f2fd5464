"""The part of TensorFlow that the trainer uses, behind one small typed boundary.

TensorFlow publishes no types, so this is the only module where they are missing; every other module sees
:class:`Api`. Its operations are the *raw* ones (``tf.raw_ops``, keyword arguments only): they are public, stable,
cheap to create, and the same functions in both ways of importing:

- *lean* imports only ``tensorflow.python.…`` modules that sessions, servers and raw operations need, without running
  ``tensorflow/__init__.py``. It takes a third of the time, and it is private API: it may break with any release.
- *public* imports ``tensorflow``.

``load`` takes the lean way and falls back to the public one; the environment variable ``DTF_LEAN_IMPORT=0`` asks for
the public one at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

Tensor: TypeAlias = Any
"""A symbolic value of a graph, or an operation (something that can be fetched or depended on)."""

SWITCH: Final = "DTF_LEAN_IMPORT"

Untyped: TypeAlias = Any
"""A value of a library that has no types, and that nothing here looks into."""

_RAW_MODULES: Final = ("array", "math", "nn", "resource_variable", "training", "data_flow", "control_flow")


class Graph(Protocol):
    """A graph under construction."""

    def as_default(self) -> AbstractContextManager[Graph]:
        """Return a context in which new operations go into this graph."""

    def device(self, name: str | None) -> AbstractContextManager[None]:
        """Return a context in which new operations are placed on the device ``name``."""

    def control_dependencies(self, inputs: list[Tensor]) -> AbstractContextManager[None]:
        """Return a context in which new operations run after ``inputs``."""

    def finalize(self) -> None:
        """Refuse any further operation."""


class Session(Protocol):
    """A connection to the master of a cluster, or to this process's own devices. Safe to use from several threads."""

    def run(self, fetches: Untyped, feed_dict: Mapping[Tensor, Untyped] | None = None) -> Untyped:
        """Run what ``fetches`` (a tensor or a list or dict of them) need, and return their values in the same shape."""

    def make_callable(self, fetches: Untyped, feed_list: list[Tensor] | None = None) -> Untyped:
        """Return a function of the values of ``feed_list`` that does what ``run`` does, with less work a call."""

    def list_devices(self) -> Untyped:
        """Return the devices that it may use, each with its ``name`` and ``device_type``."""

    def close(self) -> None:
        """Let go of the session; variables stay where they are."""


class Server(Protocol):
    """A server of this process, which holds variables and runs parts of graphs for others."""

    @property
    def target(self) -> str:
        """Where a session connects to."""


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What is needed when a run ends, or writes summaries; imported when it is asked for, not with the rest."""

    module: Callable[[str], Untyped]
    """Imports a module of TensorFlow by its name below ``tensorflow.``, or raises."""

    def writer(self, folder: str) -> Untyped:
        """Return a ``FileWriter`` of event files for TensorBoard in ``folder``."""
        return self.module("python.summary.writer.writer").FileWriter(folder)

    def summary(self) -> Untyped:
        """Return a new, empty ``Summary`` message."""
        return self.module("core.framework.summary_pb2").Summary()

    def variable(self, value: Untyped, name: str) -> Untyped:
        """Return a variable of the current graph that starts as ``value``."""
        return self.module("python.ops.resource_variable_ops").ResourceVariable(value, name=name)

    def builder(self, folder: str) -> Untyped:
        """Return a ``SavedModelBuilder`` for ``folder``, which must not exist."""
        return self.module("python.saved_model.builder_impl").SavedModelBuilder(folder)

    def signature(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Untyped:
        """Return the signature of a function that a model serves."""
        describe = self.module("python.saved_model.utils_impl").build_tensor_info
        return self.module("python.saved_model.signature_def_utils_impl").build_signature_def(
            inputs={name: describe(tensor) for name, tensor in inputs.items()},
            outputs={name: describe(tensor) for name, tensor in outputs.items()},
            method_name="tensorflow/serving/predict",
        )


class _PublicSaving(Saving):
    """The same through TensorFlow's published names."""

    def __init__(self) -> None:
        super().__init__(module=importlib.import_module)

    def writer(self, folder: str) -> Untyped:
        with public().Graph().as_default():  # it refuses to be made where operations run eagerly
            return public().compat.v1.summary.FileWriter(folder)

    def summary(self) -> Untyped:
        return public().compat.v1.Summary()

    def variable(self, value: Untyped, name: str) -> Untyped:
        return public().compat.v1.Variable(value, name=name, use_resource=True)

    def builder(self, folder: str) -> Untyped:
        return public().compat.v1.saved_model.Builder(folder)

    def signature(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Untyped:
        v1 = public().compat.v1.saved_model
        return v1.build_signature_def(
            inputs={name: v1.build_tensor_info(tensor) for name, tensor in inputs.items()},
            outputs={name: v1.build_tensor_info(tensor) for name, tensor in outputs.items()},
            method_name="tensorflow/serving/predict",
        )


@dataclass(frozen=True, kw_only=True)
class Api:
    """TensorFlow, as far as this program knows it. Types, numbers as in ``raw.Cast(x=…, DstT=api.float32)``."""

    raw: Untyped
    """The raw operations by name: ``raw.MatMul(a=…, b=…)``."""
    version: str
    lean: bool
    Graph: Untyped
    Session: Untyped
    Server: Untyped
    ConfigProto: Untyped
    ServerDef: Untyped
    constant: Untyped
    OpError: type[Exception]
    """What every failed run raises."""
    saving: Saving
    float32: Untyped
    int32: Untyped
    int64: Untyped
    uint8: Untyped
    string: Untyped
    bool: Untyped

    def graph(self) -> Graph:
        """Return a new, empty graph."""
        graph: Graph = self.Graph()
        return graph


class _LeanRawOps:
    """``tf.raw_ops`` without ``tensorflow/__init__.py``: the same functions, from the modules they are made in."""

    def __init__(self, modules: list[types.ModuleType]) -> None:
        self._modules = modules

    def __getattr__(self, name: str) -> Untyped:
        for module in self._modules:
            if name in vars(module):
                operation = vars(module)[name]
                setattr(self, name, operation)
                return operation
        raise AttributeError(f"no raw operation {name!r} in {', '.join(m.__name__ for m in self._modules)}")


def load(*, lean: bool = True, verbose: bool = False, environ: Mapping[str, str] = os.environ) -> Api:
    """Import TensorFlow and return what the trainer needs of it.

    The lean way is taken if it is asked for, the switch allows it and it works; TensorFlow must not be imported yet.
    ``verbose`` lets the library say where it places each operation, and whatever else it says at that level.
    """
    # The library's own log lines have no place among the events; a user's own level counts.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if verbose else "2")
    # By this variable a program that imported TensorFlow hands eager execution on to its children; here are graphs.
    os.environ["TF2_BEHAVIOR"] = "0"
    if lean and environ.get(SWITCH, "1") != "0" and "tensorflow" not in sys.modules:
        try:
            return _load_lean()
        except Exception as problem:  # noqa: BLE001  whatever private API may do, the public one is there
            print(f"lean import of TensorFlow failed ({problem!r}), importing all of it", file=sys.stderr)
    return _load_public()


def _load_lean() -> Api:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("TensorFlow is not installed")
    # A package of the same name and place, whose __init__.py was never run: imports below it work as always.
    stand_in = types.ModuleType("tensorflow")
    stand_in.__path__ = list(spec.submodule_search_locations)
    stand_in.__spec__ = spec
    stand_in.__file__ = spec.origin
    sys.modules["tensorflow"] = stand_in

    def module(name: str) -> Untyped:
        return importlib.import_module(f"tensorflow.{name}")

    session = module("python.client.session")
    ops = module("python.framework.ops")
    dtypes = module("python.framework.dtypes")
    return Api(
        raw=_LeanRawOps([module(f"python.ops.gen_{name}_ops") for name in _RAW_MODULES]),
        version=str(module("python.framework.versions").VERSION),
        lean=True,
        Graph=ops.Graph,
        Session=session.Session,
        Server=module("python.training.server_lib").Server,
        ConfigProto=module("core.protobuf.config_pb2").ConfigProto,
        ServerDef=module("core.protobuf.tensorflow_server_pb2").ServerDef,
        constant=module("python.framework.constant_op").constant,
        OpError=module("python.framework.errors_impl").OpError,
        saving=Saving(module=module),
        **{name: getattr(dtypes, name) for name in ("float32", "int32", "int64", "uint8", "string", "bool")},
    )


def _load_public() -> Api:
    tf = public()
    v1 = tf.compat.v1
    return Api(
        raw=tf.raw_ops,
        version=str(tf.__version__),
        lean=False,
        Graph=tf.Graph,
        Session=v1.Session,
        Server=tf.distribute.Server,
        ConfigProto=v1.ConfigProto,
        ServerDef=tf.train.ServerDef,
        constant=tf.constant,
        OpError=tf.errors.OpError,
        saving=_PublicSaving(),
        **{name: getattr(tf, name) for name in ("float32", "int32", "int64", "uint8", "string", "bool")},
    )


def public() -> Untyped:
    """Return the whole of TensorFlow (``import tensorflow``), for what the lean import does not cover.

    After a lean import this completes it: the real ``tensorflow/__init__.py`` runs, over the modules already there.
    """
    stand_in = sys.modules.get("tensorflow")
    if stand_in is not None and not hasattr(stand_in, "compat"):
        del sys.modules["tensorflow"]
    return importlib.import_module("tensorflow")


def said(problem: Exception) -> str:
    """Return the line of an error of TensorFlow that says what happened; around it may be headings and its graph."""
    lines = str(getattr(problem, "message", None) or problem).strip().splitlines()
    telling = (line.strip() for line in lines if line.strip(" ="))
    return next((line for line in telling if not line.endswith(":")), lines[0] if lines else "")
