"""Connections to a host that went without a word are given up in time.

TensorFlow's servers keep their connections open without asking whether anybody is at the other end. From a host that
has lost its power nothing comes back, not even a refusal, and the kernel sends anew for a quarter of an hour (Linux's
``tcp_retries2``) before such a connection breaks. A task that comes back meanwhile at another address, as a pod of a
host that was booted does, is not spoken to before that: its first step waits, and a synchronous round waits for it.

gRPC has options for this, and TensorFlow passes none of them on: ``GetChannelArguments`` in its ``grpc_channel.cc``.
So a task sets the kernel's own on all of its connections. An option is the socket's, whatever descriptor sets it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Final

DESCRIPTORS: Final = Path("/proc/self/fd")

LOOK_SECONDS: Final = 2.0
"""How often new connections are looked for; an option also holds for what was sent before it was set."""


def limit(seconds: float, known: set[str]) -> set[str]:
    """Let each TCP connection break that has not been answered for so long, and return what has its limit now.

    Args:
        seconds: how long what was sent may stay unacknowledged. A silent connection is asked after a quarter of that.
        known: what an earlier call has returned; it is left alone.
    """
    found = set()
    for descriptor in DESCRIPTORS.iterdir():
        # It may be closed meanwhile, or not be a socket.
        with contextlib.suppress(OSError):
            name = str(descriptor.readlink())
            if not name.startswith("socket:"):
                continue
            found.add(name)
            if name not in known:
                with socket.socket(fileno=os.dup(int(descriptor.name))) as connection:
                    _limit(connection, seconds)
    return found


def _limit(connection: socket.socket, seconds: float) -> None:
    if connection.family not in {socket.AF_INET, socket.AF_INET6} or connection.type != socket.SOCK_STREAM:
        return
    pause = max(1, round(seconds / 4))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))


def watch(seconds: float) -> None:
    """Limit all connections of this process, and those that it makes from now on, in a thread of its own."""

    def look() -> None:
        known: set[str] = set()
        while True:
            known = limit(seconds, known)
            time.sleep(LOOK_SECONDS)

    threading.Thread(target=look, name="connections", daemon=True).start()
