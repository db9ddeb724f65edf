# SPDX-License-Identifier: LGPL-2.1-or-later
"""An adopted VPN over ppp, with pppd at both ends of a pipe, on the kernel of uml.py: others need not
have PPP. As guest.py: prints what it saw, test_uml_ppp.py judges."""

import contextlib
import os
import signal
import socket
import subprocess

from guest import SERVERS, USERS, Capture, Daemon, Here, attempt, left, make_network, say
from harness import checked, libc, wait_for

OURS, THEIRS = "10.88.0.2", "10.88.0.1"
INTERFACE = "ppp7"


def make_places():
    """Where pppd finds terminals and locks."""
    os.makedirs("/dev/pts", exist_ok=True)
    checked(libc.mount(b"none", b"/dev/pts", b"devpts", 0, b"ptmxmode=666"))
    os.makedirs("/run/lock")


class Ppp:
    """pppd, whose line is a pppd in the router."""

    def __init__(self, router):
        self.remote = (f"exec nsenter --net={router.path} pppd nodetach notty noauth noipdefault "
                       "lcp-restart 1 ipcp-restart 1 ipv6cp-restart 1 "
                       f"{THEIRS}:{OURS}")
        self.process = None

    def start(self):
        with open("/run/pppd.log", "ab") as log:
            self.process = subprocess.Popen(
                ["pppd", "nodetach", "noauth", "noipdefault", "persist", "holdoff", "1", "unit",
                 INTERFACE.removeprefix("ppp"), "lcp-restart", "1", "ipcp-restart", "1", "ipv6cp-restart",
                 "1", "pty", self.remote], stdout=log, stderr=log)

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()
        self.process = None


def index():
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(INTERFACE)
    return 0


def tell(when, capture):
    """Whom the server sees, and what left by which interface."""
    for user in ("require", "nothing"):
        for family in ("IPv4", "IPv6"):
            capture.packets()
            answer = attempt(USERS[user], "udp", SERVERS[family])
            say(what="ppp", when=when, user=user, family=family, answer=answer, index=index(),
                left=left(capture, SERVERS.values(), answer))


def wait_up(daemon, capture):
    """pppd changes the address while the interface is up already, and each time the kernel forgets its
    routes; meanwhile nothing leaves."""
    def answered():
        capture.packets()
        answer = attempt(USERS["require"], "udp", SERVERS["IPv4"])
        if answer.startswith("E"):
            say(what="wait", left=left(capture, SERVERS.values(), answer))
        return answer == OURS

    code, _, err = daemon("vpn", "up", "work", "--wait", "100")
    assert code == 0, err
    wait_for("an answer", answered)


def wait_blocked(daemon):
    wait_for("the interface to be gone", lambda: not index())
    wait_for("the VPN to be blocked",
             lambda: '"state":"blocked"' in daemon("--json", "vpn", "show", "work")[1])


def main():
    make_places()
    router, server = make_network()
    capture, daemon, ppp = Capture(Here()), Daemon(), Ppp(router)
    tell("nothing is there", capture)
    daemon.start()
    daemon.tell("adopt", "vpn", "adopt", INTERFACE, "--name", "work", "--apps",
                f"uid:{USERS['require']}", "--route", "0.0.0.0/0", "--lockdown")
    tell("before it is there", capture)
    ppp.start()
    wait_up(daemon, capture)
    tell("up", capture)
    before = index()
    ppp.process.send_signal(signal.SIGHUP)  # hangs up, and dials again
    wait_for("the interface to be gone", lambda: index() != before)
    wait_up(daemon, capture)
    tell("dialled again", capture)
    ppp.end(signal.SIGKILL)
    wait_blocked(daemon)
    tell("killed", capture)
    ppp.start()
    wait_up(daemon, capture)
    tell("up again", capture)
    daemon.kill()
    ppp.end(signal.SIGTERM)
    tell("both gone", capture)
    ppp.start()
    wait_for("the interface", index)
    tell("without a daemon", capture)
    daemon.start()
    wait_up(daemon, capture)
    tell("adopted again", capture)
    ppp.end(signal.SIGTERM)
    daemon.kill()
    server.close()


main()
