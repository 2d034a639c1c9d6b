"""Several hosts on one machine: network namespaces joined by a cable of their own."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A network namespace, its address on the cable and what the cable is called there."""

    name: str
    address: str
    interface: str

    @property
    def entering(self) -> tuple[str, ...]:
        """What stands before a command that shall run there."""
        return ("ip", "netns", "exec", self.name)


@functools.cache
def no_hosts() -> str | None:
    """Why there can be no hosts here; None if there can."""
    if shutil.which("ip") is None:
        return "network namespaces need iproute2 (see .ci/packages)"
    probe = "vertebra-probe"
    done = _ip("netns", "add", probe, check=False)
    if done.returncode:
        return f"no network namespaces here: {done.stderr.strip()}"
    _ip("netns", "del", probe)
    return None


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts with nothing between them but one cable, and no way out."""
    hosts = Host("vertebra-a", "192.0.2.1", "cable-a"), Host("vertebra-b", "192.0.2.2", "cable-b")
    one, other = hosts
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        cable = ("type", "veth", "peer", other.interface, "netns", other.name)
        _ip("-n", one.name, "link", "add", one.interface, *cable)
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/30", "dev", host.interface)
            _ip("-n", host.name, "link", "set", host.interface, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield hosts
    finally:
        for host in hosts:
            _ip("netns", "del", host.name, check=False)


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
