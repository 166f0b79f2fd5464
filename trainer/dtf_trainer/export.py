"""The trained model as a SavedModel, for serving and for ``tf.saved_model.load``."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from .model import PIXELS, logits, parameter_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .tf_api import Api


def export(api: Api, folder: Path, parameters: Mapping[str, Any]) -> int:
    """Write the model to ``folder`` and return its size in bytes; what was there before is replaced, whole.

    Its signature ``serving_default`` takes ``images``, ``float32 [n, 784]`` between 0 and 1, and gives
    ``probabilities``, ``float32 [n, 10]``, and ``classes``, ``int64 [n]``. ``parameters`` are values by name; others
    than parameters are ignored.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    _write(api, staging, parameters)
    size = sum(file.stat().st_size for file in staging.rglob("*") if file.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)
    return size


def _write(api: Api, folder: Path, parameters: Mapping[str, Any]) -> None:
    raw = api.raw
    graph = api.graph()
    with graph.as_default():
        variables = {name: api.saving.variable(api.constant(parameters[name]), name) for name in parameter_shapes(1)}
        images = raw.Placeholder(dtype=api.float32, shape=(None, PIXELS), name="images")
        values = {
            name: raw.ReadVariableOp(resource=variable.handle, dtype=api.float32)
            for name, variable in variables.items()
        }
        _, numbers = logits(api, values, images)
        outputs = {
            "probabilities": raw.Softmax(logits=numbers),
            "classes": raw.ArgMax(input=numbers, dimension=1, output_type=api.int64),
        }
        signature = api.saving.signature({"images": images}, outputs)
        session = api.Session(graph=graph, config=api.ConfigProto(device_count={"GPU": 0}))
        session.run([variable.initializer for variable in variables.values()])
        builder = api.saving.builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": signature})
        builder.save()
        session.close()
