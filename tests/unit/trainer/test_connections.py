"""Which of a process's sockets get a limit; that it frees the way to a host that was booted, a real cluster shows."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtf_trainer import connections


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """A listener, a connection to it and the listener's side of that."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as made:
        accepted, _address = listener.accept()
        with accepted:
            yield listener, made, accepted


def unanswered(connection: socket.socket) -> int:
    """Return for how many milliseconds what was sent may stay unacknowledged; 0 is the system's own limit."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_every_connection_has_the_limit_and_a_later_one_of_a_listener_inherits_it(
    pair: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    listener, made, accepted = pair
    assert [unanswered(each) for each in pair] == [0, 0, 0]
    connections.limit(20, set())
    for each in pair:
        assert unanswered(each) == 20_000
        assert each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    with socket.create_connection(listener.getsockname()):
        later, _address = listener.accept()
        with later:
            assert unanswered(later) == 20_000
    made.sendall(b"whole")
    assert accepted.recv(5) == b"whole"


def test_what_was_limited_is_left_alone_and_what_is_gone_is_forgotten(
    pair: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    _listener, made, _accepted = pair
    name = str(Path(f"/proc/self/fd/{made.fileno()}").readlink())
    known = connections.limit(20, set())
    assert name in known
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
    assert connections.limit(20, known) >= {name}
    assert unanswered(made) == 0
    made.close()
    assert name not in connections.limit(20, known)


def test_other_sockets_and_files_are_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, socket.socket(socket.AF_UNIX) as local:
        before = len(list(Path("/proc/self/fd").iterdir()))
        connections.limit(20, set())
        assert datagram.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert local.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert len(list(Path("/proc/self/fd").iterdir())) == before
