"""Temporary."""

from __future__ import annotations

from rootless.record import record

TYPE_CHECKING = False


@record
class Network:
    kind: str = "host"
    path: str = ""


@record
class Running:
    path: str
    address: str = ""


def start(network: Network) -> Running:
    if network.kind == "none":
        import os

        from rootless import container_init, kernel

        r, w = os.pipe()
        r2, w2 = os.pipe()
        pid = os.fork()
        if pid == 0:
            kernel.unshare(kernel.CLONE_NEWNET)
            container_init._bring_loopback_up()
            os.write(w, b"x")
            os.close(w2)
            os.read(r2, 1)
            os._exit(0)
        os.read(r, 1)
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        os.close(w2)
        os.waitpid(pid, 0)
        for x in (r, w, r2):
            os.close(x)
        return Running(f"/proc/{os.getpid()}/fd/{fd}")
    return Running(network.path)


def publish(running: Running, network: Network) -> tuple[tuple[str, int, int, str], ...]:
    return ()


def reap(running: Running) -> None:
    pass


def stop(running: Running) -> None:
    pass
