"""Several hosts on one machine, for tests: network namespaces on a network with delays, whose links can be cut.

::

    host a ── tap ──┐                       each direction of a link has its own delay;
    host b ── tap ──┤ this program          a link that is cut loses what is sent, and says nothing
    host c ── tap ──┘ (an Ethernet switch)

The kernel's own way to delay packets (`tc netem`) is a module that many machines lack; this needs `/dev/net/tun` alone.

Rules of this module:
- Everything ends with the `with` block: the switch, what runs in the hosts, the namespaces.
- Run as a program it is the switch: ``python network_hosts.py NAME=NAMESPACE …``; it reads ``cut NAME``, ``join NAME``
  and ``delay NAME THERE_MILLISECONDS BACK_MILLISECONDS`` from its input.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import selectors
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
FRAME_BYTES = 65_536
BROADCAST_BIT = 1


class NetworkHosts:
    """Hosts by name; each has the address ``10.77.0.N``, in the order of the names, from 1."""

    def __init__(self, *names: str) -> None:
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        self._namespaces = {name: f"mkspn{os.getpid()}{name}" for name in names}
        self._switch: subprocess.Popen[str] | None = None

    def inside(self, name: str) -> list[str]:
        """What runs a command on that host."""
        return ["ip", "netns", "exec", self._namespaces[name]]

    def cut(self, name: str) -> None:
        """Its link loses everything from now on."""
        self._say(f"cut {name}")

    def join(self, name: str) -> None:
        """Its link is there again."""
        self._say(f"join {name}")

    def delay(self, name: str, there_milliseconds: float, back_milliseconds: float) -> None:
        """How long a packet to it takes, and one from it."""
        self._say(f"delay {name} {there_milliseconds} {back_milliseconds}")

    def __enter__(self) -> Self:
        try:
            for namespace in self._namespaces.values():
                _ip("netns", "add", namespace)
            pairs = [f"{name}={namespace}" for name, namespace in self._namespaces.items()]
            self._switch = subprocess.Popen(
                [sys.executable, __file__, *pairs], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self._switch.stdout is not None
            assert self._switch.stdout.readline() == "ready\n"
            for name, namespace in self._namespaces.items():
                for words in (
                    ("addr", "add", f"{self.addresses[name]}/24", "dev", "net0"),
                    ("link", "set", "net0", "up"),
                    ("link", "set", "lo", "up"),
                ):
                    _ip("-n", namespace, *words)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait(10)
            for pipe in (self._switch.stdin, self._switch.stdout):
                if pipe is not None:
                    pipe.close()
        for namespace in self._namespaces.values():
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)

    def _say(self, words: str) -> None:
        assert self._switch is not None
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(words + "\n")
        self._switch.stdin.flush()
        assert self._switch.stdout.readline() == "done\n"


def why_there_can_be_none() -> str | None:
    """Why this machine cannot have such hosts, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path(TUN).exists():
        return f"the kernel has no {TUN}"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"no network namespaces: {done.stderr.strip()}" if done.returncode else None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Switch:
    """Forwards frames between the hosts."""

    def __init__(self, namespaces: dict[str, str]) -> None:
        self._taps = {name: _tap(namespace) for name, namespace in namespaces.items()}
        self._delays = dict.fromkeys(namespaces, (0.0, 0.0))
        self._is_cut: set[str] = set()
        # Where the host with an Ethernet address was last heard of.
        self._places: dict[bytes, str] = {}
        self._waiting: list[tuple[float, int, str, bytes]] = []
        self._number = 0

    def serve(self) -> None:
        """Until its input ends."""
        selector = selectors.DefaultSelector()
        for name, tap in self._taps.items():
            selector.register(tap, selectors.EVENT_READ, name)
        selector.register(sys.stdin, selectors.EVENT_READ, "")
        print("ready", flush=True)
        while True:
            soon = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            for key, _ in selector.select(soon):
                if key.data:
                    self._take(key.data, os.read(key.fd, FRAME_BYTES))
                elif not self._obey(sys.stdin.readline()):
                    return
            self._deliver()

    def _obey(self, line: str) -> bool:
        words = line.split()
        if not words:
            return False
        if words[0] == "cut":
            self._is_cut.add(words[1])
        elif words[0] == "join":
            self._is_cut.discard(words[1])
        else:
            self._delays[words[1]] = (float(words[2]) / 1000, float(words[3]) / 1000)
        print("done", flush=True)
        return True

    def _take(self, name: str, frame: bytes) -> None:
        if name in self._is_cut:
            return
        self._places[frame[6:12]] = name
        known = None if frame[0] & BROADCAST_BIT else self._places.get(frame[:6])
        for other in self._taps if known is None else (known,):
            if other != name and other not in self._is_cut:
                self._number += 1
                due = time.monotonic() + self._delays[name][1] + self._delays[other][0]
                heapq.heappush(self._waiting, (due, self._number, other, frame))

    def _deliver(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, name, frame = heapq.heappop(self._waiting)
            # One that was cut off meanwhile hears nothing of it; a host whose queue is full loses it.
            if name not in self._is_cut:
                with suppress(OSError):
                    os.write(self._taps[name], frame)


def _tap(namespace: str) -> int:
    """A network device in that namespace, whose frames this process reads and writes."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open("rb") as place:
        if libc.setns(place.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    tap = os.open(TUN, os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"net0", IFF_TAP | IFF_NO_PI))
    return tap


if __name__ == "__main__":
    Switch(dict(pair.split("=", 1) for pair in sys.argv[1:])).serve()
