"""One task of a distributed training: a parameter server or a worker, started as ``python -m dtf_trainer``.

The package knows its command line, its environment variables and TensorFlow, and nothing of what starts it.
Importing it, or any of its modules that touch neither arrays nor graphs, needs the standard library only.
"""

from __future__ import annotations

__version__ = "0.1.0"
