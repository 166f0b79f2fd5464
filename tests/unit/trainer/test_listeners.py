"""How a worker finds its parameter servers, and what it says while they let themselves be waited for: real sockets."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dtf_trainer.distributed import WAITING_SECONDS, wait_for_listeners
from dtf_trainer.lifecycle import PeerLost

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "event.schema.json").read_text(encoding="utf-8"))


class Said(list[tuple[str, dict[str, Any]]]):
    """The events that were emitted, each as the schema wants it."""

    def emit(self, event: str, **fields: object) -> None:
        identity = {"schema": "dtf.event/1", "run_id": "r", "role": "worker", "index": 0, "attempt": 0}
        jsonschema.validate({**identity, "event": event, "wall": 1.0, "monotonic": 1.0, **fields}, SCHEMA)
        self.append((event, fields))


@contextlib.contextmanager
def held() -> Iterator[int]:
    """A port on which nobody listens and that nobody else gets; who shares it may listen there later."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def port() -> Iterator[int]:
    """Such a port for one test."""
    with held() as found:
        yield found


@contextlib.contextmanager
def listening(port: int) -> Iterator[str]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        yield f"127.0.0.1:{port}"


def seconds_at_each_look(step: float) -> Callable[[], float]:
    """A clock that jumps by ``step`` whenever it is read."""
    return itertools.count(0.0, step).__next__


def test_who_answers_at_once_is_not_worth_a_word() -> None:
    said = Said()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        wait_for_listeners([address], 10.0, said.emit, clock=seconds_at_each_look(WAITING_SECONDS))
    assert said == []


def test_who_is_soon_there_is_not_either(port: int) -> None:
    said = Said()
    with pytest.raises(PeerLost):
        wait_for_listeners([f"127.0.0.1:{port}"], 2.5, said.emit, clock=seconds_at_each_look(0.5))
    assert said == []


def test_who_does_not_answer_is_told_of_once(port: int) -> None:
    said, address = Said(), f"127.0.0.1:{port}"
    with pytest.raises(PeerLost, match=f"ps {address} not reached in 20 s: .*refused"):
        wait_for_listeners([address], 20.0, said.emit, clock=seconds_at_each_look(1.0))
    ((event, fields),) = said
    assert event == "waiting"
    assert fields["address"] == address
    assert "refused" in fields["message"]


def test_a_name_that_nobody_knows_is_waited_for_too() -> None:
    said = Said()
    with pytest.raises(PeerLost):
        wait_for_listeners(["demo-ps-0.invalid:8000"], 8.0, said.emit, clock=seconds_at_each_look(2.0))
    assert [event for event, _fields in said] == ["waiting"]


def test_who_answers_at_last_is_not_waited_for_any_more() -> None:
    """Each address has its own time, and whoever hears of one that is late hears when it is there."""
    said = Said()
    with contextlib.ExitStack() as servers:
        first, second = (servers.enter_context(held()) for _ in range(2))

        def emit(event: str, **fields: object) -> None:
            said.emit(event, **fields)
            if event == "waiting":
                servers.enter_context(listening(int(str(fields["address"]).rpartition(":")[2])))

        addresses = [f"127.0.0.1:{first}", f"127.0.0.1:{second}"]
        wait_for_listeners(addresses, 60.0, emit, clock=seconds_at_each_look(1.0))
    assert [(event, fields["address"]) for event, fields in said] == [
        ("waiting", addresses[0]),
        ("reached", addresses[0]),
        ("waiting", addresses[1]),
        ("reached", addresses[1]),
    ]
