# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running programs with libwaymark and with the preload library, of the build that is tested."""

import contextlib
import os
import pathlib
import socket
import subprocess

from harness import SERVER4, WAIT, WAYMARKD, check_sanitizers, wait_for

BUILD = pathlib.Path(WAYMARKD).resolve().parents[1]
PROGRAMS = BUILD / "tests/e2e/programs"
LIBRARY = BUILD / "src/libwaymark.so.0"
PRELOAD = BUILD / "src/libwaymark-preload.so"
EXAMPLE = BUILD / "examples/bind-socket"

PERMISSION_SYSTEM = 0xC0000
EXPLICIT, PROTECTED = 0x10000, 0x20000


def sanitizers():
    """What a sanitized library wants to have loaded before itself; else empty."""
    needed = subprocess.run(["ldd", PRELOAD], check=True, capture_output=True, text=True).stdout
    return [line.split()[2] for line in needed.splitlines() if "libasan" in line]


def preloaded():
    """LD_PRELOAD."""
    return ":".join([*sanitizers(), str(PRELOAD)])


def environment(daemon, network=None, preload=False, **more):
    env = {"PATH": os.environ["PATH"], "WAYMARK_RUNTIME_DIR": daemon.runtime}
    env |= {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
    if preload:
        # other people's programs are not made to end without leaks
        env |= {"LD_PRELOAD": preloaded(),
                "ASAN_OPTIONS": env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    if network is not None:
        env["WAYMARK_NETWORK"] = str(network)
    return env | more


def start(daemon, *command, uid=0, **options):
    """The program in the daemon's machine; options as of environment()."""
    return daemon.machine.popen([str(word) for word in command], uid=uid, enter=daemon.enter,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True,
                                env=environment(daemon, **options))


def output(daemon, *command, **options):
    """What it prints; it has to end well."""
    with start(daemon, *command, **options) as process:
        out, err = process.communicate(timeout=WAIT)
    check_sanitizers(err)
    assert (process.returncode, err) == (0, ""), (command, out)
    return out


def client(daemon, words, **options):
    """The lines of tests/e2e/programs/client.c."""
    return output(daemon, PROGRAMS / "client", *words.split(), **options).splitlines()


def plain(daemon, *words, program="plain", preload=True, **options):
    """What tests/e2e/programs/plain.c says: the mark (None: no socket), and the outcome."""
    mark, outcome = output(daemon, PROGRAMS / program, *words, preload=preload, **options).split()
    return None if mark == "-" else int(mark, 16), outcome


def _serve_pages(port, n):
    with socket.create_server((SERVER4, port)) as server:
        for _ in range(n):
            peer, (address, _) = server.accept()
            with peer:
                assert peer.recv(1000).startswith(b"GET / ")
                peer.sendall(f"HTTP/1.0 200 OK\r\n\r\n{address}".encode())


@contextlib.contextmanager
def pages(machine, port, n):
    """Behind the router, at SERVER4: to each of n clients, as a page, the address it comes from."""
    server = machine.router.start_call(_serve_pages, port, n)
    wait_for("the server", lambda: machine.router.run(["ss", "-Hltn", f"sport = {port}"]).stdout)
    yield
    server.result()
