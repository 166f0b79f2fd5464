# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts measure to one another: a listener that ends by itself, and a visitor that speaks to it.

The listener sits on the very ports that a node needs, so that what is measured is what the firewalls let through. Each
run has a secret word; who does not know it gets no answer. On a connection the visitor sends lines, and the listener
answers each: ``WORD name`` → its name, ``WORD clock`` → its time, ``WORD sink BYTES`` → ``go``, and so many bytes →
``done``. A datagram ``WORD…`` of any length is answered by ``WORD LENGTH``.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import select
import selectors
import signal
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

#: Long enough for a second try of the kernel's after a lost packet.
CONNECT_SECONDS = 2.5
ANSWER_SECONDS = 3.0
DATAGRAM_SECONDS = 0.3
DATAGRAM_TRIES = 3
ROUNDS = 12
BANDWIDTH_SECONDS = 1.0
BANDWIDTH_BYTES = 64 << 20
LARGEST_LINE = 200
#: What IP and UDP put before the bytes of a datagram.
HEADERS = {socket.AF_INET: 28, socket.AF_INET6: 48}
#: No network that carries IP passes less.
SHORTEST_PACKET = 576
_CHUNK = bytes(1 << 18)
# Linux's own numbers, which Python does not name: never fragment, and ignore what is remembered of the path.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_ETH_P_ARP = 0x0806


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of sockets for an address."""
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


# -- the listener


def listen(address: str, ports: Sequence[Mapping[str, Any]], word: str, name: str, seconds: float) -> dict[str, Any]:
    """Start a process that listens and return at once: ``{pid, answering, busy}``.

    Args:
        address: the node address; its family is the one that is listened on, at every address of the host.
        ports: ``{port, protocol}``; one that is taken stays its owner's.
        word: the secret of this run.
        name: what this host is called.
        seconds: after so long the process ends by itself, whatever happens.
    """
    bound: list[tuple[dict[str, Any], socket.socket]] = []
    busy = []
    for port in ports:
        entry = {"port": port["port"], "protocol": port["protocol"]}
        channel = _bound(family_of(address), entry)
        if channel is None:
            busy.append(entry)
        else:
            bound.append((entry, channel))
    # Both lists may name a port; a port that answers is not busy.
    pid = _detached(lambda: serve([channel for _entry, channel in bound], word, name, seconds))
    for _entry, channel in bound:
        channel.close()
    return {"pid": pid, "answering": [entry for entry, _channel in bound], "busy": busy}


def _bound(family: socket.AddressFamily, entry: Mapping[str, Any]) -> socket.socket | None:
    tcp = entry["protocol"] == "tcp"
    channel = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    try:
        if tcp:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        channel.bind(("", entry["port"]))
        if tcp:
            channel.listen(64)
    except OSError as error:
        channel.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise
    channel.setblocking(False)
    return channel


def _detached(work: Any) -> int:
    """Run something in a process of its own session that nobody waits for; return its id."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as stream:
            return int(stream.read() or b"0")
    # From here on nothing may return into the module: it would answer a second time.
    try:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.write(writer, str(grandchild).encode())
            os._exit(0)
        os.close(reader)
        os.close(writer)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.chdir("/")
        work()
    finally:
        os._exit(0)


def stop(pid: int, ports: Sequence[Mapping[str, Any]]) -> bool:
    """End a listener before its time; return whether it was there. Another process under its number is left alone."""
    try:
        inodes = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}  # noqa: PTH115
    except OSError:
        return False
    wanted = {(entry["port"], entry["protocol"]) for entry in ports}
    held = {
        (int(fields[1].rpartition(":")[2], 16), protocol)
        for protocol in ("tcp", "udp")
        for suffix in ("", "6")
        for fields in _rows(Path(f"/proc/net/{protocol}{suffix}"))
        if f"socket:[{fields[9]}]" in inodes
    }
    if not wanted & held:
        return False
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + ANSWER_SECONDS
    while Path(f"/proc/{pid}/fd").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return True


def _rows(path: Path) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9:
                yield fields


def serve(channels: Sequence[socket.socket], word: str, name: str, seconds: float) -> None:
    """Answer visitors until the time is over."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as waiting:
        for channel in channels:
            waiting.register(channel, selectors.EVENT_READ)
        while time.monotonic() < end:
            for key, _events in waiting.select(timeout=min(1.0, seconds)):
                try:
                    _serve_one(waiting, key, word, name)
                except OSError:
                    _forget(waiting, key.fileobj)


class _Conversation:
    """One connection: the line that is being read, the bytes that are still to be swallowed."""

    def __init__(self) -> None:
        self.line = b""
        self.sink = 0


def _serve_one(waiting: selectors.BaseSelector, key: selectors.SelectorKey, word: str, name: str) -> None:
    channel = key.fileobj
    if not isinstance(channel, socket.socket):
        raise TypeError("only sockets are registered")
    if isinstance(key.data, _Conversation):
        if not _converse(channel, key.data, word, name):
            _forget(waiting, channel)
    elif channel.type == socket.SOCK_STREAM:
        visitor, _address = channel.accept()
        visitor.setblocking(False)
        visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(visitor, selectors.EVENT_READ, _Conversation())
    else:
        datagram, address = channel.recvfrom(1 << 16)
        if datagram.startswith(word.encode()):
            channel.sendto(f"{word} {len(datagram)}".encode(), address)


def _forget(waiting: selectors.BaseSelector, channel: Any) -> None:
    if isinstance(waiting.get_map()[channel].data, _Conversation):
        waiting.unregister(channel)
        channel.close()


def _converse(channel: socket.socket, state: _Conversation, word: str, name: str) -> bool:
    """Read what has come and answer it; return whether the connection goes on."""
    received = channel.recv(1 << 18)
    arrived = time.time()
    if state.sink and received:
        state.sink = max(0, state.sink - len(received))
        if not state.sink:
            channel.sendall(b"done\n")
        return True
    state.line += received
    if received and not state.line.endswith(b"\n"):
        return len(state.line) <= LARGEST_LINE
    line, state.line = state.line, b""
    return _reply(channel, state, line.decode("utf-8", "replace").strip(), word, name, arrived)


def _reply(channel: socket.socket, state: _Conversation, line: str, word: str, name: str, arrived: float) -> bool:
    secret, _space, rest = line.partition(" ")
    if secret != word:
        return False
    if rest == "name":
        channel.sendall(f"{name}\n".encode())
    elif rest == "clock":
        channel.sendall(f"{arrived!r} {time.time()!r}\n".encode())
    elif rest.startswith("sink "):
        state.sink = min(int(rest[5:]), BANDWIDTH_BYTES)
        channel.sendall(b"go\n")
    else:
        return False
    return True


# -- the visitor


def visit(peer: Mapping[str, Any], word: str) -> dict[str, Any]:
    """Return what this host measures to another one, in the shape that ``preflight_links.Link`` reads.

    Args:
        peer: ``{name, address, ports, answering, mtu, bandwidth}`` as ``preflight_links.peers`` made it.
        word: the secret of this run.
    """
    address = peer["address"]
    answering = {(entry["port"], entry["protocol"]) for entry in peer["answering"]}
    needed = [(entry["port"], entry["protocol"]) for entry in peer["ports"]]
    tcp = sorted({port for port, protocol in (*needed, *answering) if protocol == "tcp"})
    outcomes, connections = connect(address, tcp)
    result: dict[str, Any] = {
        "target": peer["name"],
        "answered_by": None,
        "rtt_ms": None,
        "ahead_seconds": None,
        "bandwidth_mbit_s": None,
        "mtu_expected": None,
        "mtu_measured": None,
    }
    ports = {f"{port}/tcp": outcomes[port] for port, protocol in needed if protocol == "tcp"}
    for port in (port for port, protocol in needed if protocol == "udp"):
        # A port that somebody else holds cannot be made to answer.
        heard = datagram_arrives(address, port, word, len(word)) if (port, "udp") in answering else None
        ports[f"{port}/udp"] = "untried" if heard is None else "open" if heard else "silent"
    result["ports"] = ports
    try:
        # The first of our own ports that is open will do.
        speaking = [connections[port] for port in tcp if port in connections and (port, "tcp") in answering]
        if speaking:
            with contextlib.suppress(OSError, ValueError):
                result.update(_speak(speaking[0], word, peer["bandwidth"]))
    finally:
        for connection in connections.values():
            connection.close()
    datagrams = sorted(port for port, protocol in answering if protocol == "udp")
    if datagrams and peer["mtu"] >= SHORTEST_PACKET and result["answered_by"] == peer["name"]:
        result["mtu_expected"] = peer["mtu"]
        result["mtu_measured"] = max(path_mtu(address, port, word, peer["mtu"]) for port in datagrams[:1])
    return result


def connect(address: str, ports: Sequence[int]) -> tuple[dict[int, str], dict[int, socket.socket]]:
    """Try all ports of a host at once; return port to ``open``, ``refused`` or ``silent``, and the open connections."""
    outcomes = dict.fromkeys(ports, "silent")
    connections = {}
    with selectors.DefaultSelector() as waiting:
        for port in ports:
            channel = socket.socket(family_of(address), socket.SOCK_STREAM)
            channel.setblocking(False)
            channel.connect_ex((address, port))
            waiting.register(channel, selectors.EVENT_WRITE, port)
        end = time.monotonic() + CONNECT_SECONDS
        while waiting.get_map() and time.monotonic() < end:
            for key, _events in waiting.select(timeout=max(0.0, end - time.monotonic())):
                waiting.unregister(key.fileobj)
                channel = key.fileobj  # type: ignore[assignment]
                problem = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem:
                    channel.close()
                    # What a router or a firewall says (no route, prohibited) is a refusal too; a late one is silence.
                    outcomes[key.data] = "silent" if problem == errno.ETIMEDOUT else "refused"
                else:
                    outcomes[key.data] = "open"
                    connections[key.data] = channel
        for key in list(waiting.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return outcomes, connections


def _speak(channel: socket.socket, word: str, bandwidth: bool) -> dict[str, Any]:
    channel.setblocking(True)
    channel.settimeout(ANSWER_SECONDS)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found: dict[str, Any] = {"answered_by": _ask(channel, f"{word} name")}
    samples = []
    for _round in range(ROUNDS):
        wall, begin = time.time(), time.perf_counter()
        received, sent = (float(part) for part in _ask(channel, f"{word} clock").split())
        took = time.perf_counter() - begin
        # Half of the way there and back, less the time that the other one thought.
        samples.append((took, ((received - wall) + (sent - (wall + took))) / 2))
    found["rtt_ms"] = round(median(took for took, _ahead in samples) * 1e3, 3)
    found["ahead_seconds"] = round(min(samples)[1], 6)
    if bandwidth:
        found["bandwidth_mbit_s"] = _push(channel, word)
    return found


def _ask(channel: socket.socket, line: str) -> str:
    channel.sendall(line.encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        part = channel.recv(LARGEST_LINE)
        if not part:
            raise ConnectionResetError
        answer += part
    return answer.decode("utf-8", "replace").strip()


def _push(channel: socket.socket, word: str) -> float:
    """Return the megabits a second that arrive: doubling amounts, until one takes long enough to tell."""
    size = 1 << 20
    while True:
        # Its answer is waited for: what comes together with a line is not looked at.
        _ask(channel, f"{word} sink {size}")
        begin = time.perf_counter()
        left = size
        while left:
            left -= channel.send(_CHUNK[:left])
        answer = channel.recv(LARGEST_LINE)
        took = time.perf_counter() - begin
        if not answer:
            raise ConnectionResetError
        if took > BANDWIDTH_SECONDS / 4 or size >= BANDWIDTH_BYTES:
            return round(size * 8 / took / 1e6, 1)
        size = min(BANDWIDTH_BYTES, size * 4)


def datagram_arrives(address: str, port: int, word: str, size: int) -> bool:
    """Whether a datagram of so many bytes, which must not be cut up, is answered."""
    family = family_of(address)
    payload = word.encode().ljust(size, b".")
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        if family == socket.AF_INET:
            channel.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            channel.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        channel.connect((address, port))
        for _try in range(DATAGRAM_TRIES):
            try:
                channel.send(payload)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return False
                continue
            end = time.monotonic() + DATAGRAM_SECONDS
            while select.select([channel], [], [], max(0.0, end - time.monotonic()))[0]:
                with contextlib.suppress(OSError):
                    if channel.recv(LARGEST_LINE).split() == [word.encode(), str(len(payload)).encode()]:
                        return True
    return False


def path_mtu(address: str, port: int, word: str, expected: int) -> int:
    """Return the longest packet, up to the expected one, that arrives uncut; 0 if not even the shortest does."""
    headers = HEADERS[family_of(address)]

    def arrives(packet: int) -> bool:
        return datagram_arrives(address, port, word, packet - headers)

    if arrives(expected):
        return expected
    if not arrives(SHORTEST_PACKET):
        return 0
    low, high = SHORTEST_PACKET, expected
    while high - low > 1:
        middle = (low + high) // 2
        if arrives(middle):
            low = middle
        else:
            high = middle
    return low


# -- who else has this address?


def arp_answers(interface: str, address: str, seconds: float = 0.6) -> list[str]:
    """Return the hardware addresses of others that claim an address on an interface's segment.

    The question is the one of RFC 5227, from no address at all, so that nobody's table changes by it.
    """
    try:
        own = Path(f"/sys/class/net/{interface}/address").read_text().strip()
        asking = bytes(int(part, 16) for part in own.split(":"))
        wanted = ipaddress.IPv4Address(address).packed
        channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP))
    except (OSError, ValueError):
        return []
    if len(asking) != 6:
        return []
    ethernet = b"\xff" * 6 + asking + struct.pack(">H", _ETH_P_ARP)
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + asking + bytes(4) + bytes(6) + wanted
    found = set()
    with channel:
        channel.bind((interface, _ETH_P_ARP))
        for attempt in range(3):
            channel.send(ethernet + body)
            end = time.monotonic() + seconds / 3
            while select.select([channel], [], [], max(0.0, end - time.monotonic()))[0]:
                packet = channel.recv(1 << 12)
                # An answer (2) whose sender's address is the one asked for, from hardware that is not ours.
                if (
                    len(packet) >= 42
                    and packet[20:22] == b"\0\2"
                    and packet[28:32] == wanted
                    and packet[22:28] != asking
                ):
                    found.add(":".join(f"{byte:02x}" for byte in packet[22:28]))
            if found and attempt:
                break
    return sorted(found)
