# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adopted VPNs with the programs that make them: OpenVPN, and WireGuard by wg-quick. Their other end is
the router. The app sends all the time, and what leaves by an uplink is looked at: of the app's nothing may,
however its VPN comes, goes and comes back. (ppp: tests/uml/test_uml_ppp.py, this kernel need not have it.)"""

import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from harness import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, checked, die_with, libc, wait_for
from vpn_fixture import OWNER as APP
from vpn_fixture import OTHER, Sender, Watch, machine_of_either_kind, udp, wait_vpn

OURS, THEIRS = "10.88.0.2", "10.88.0.1"
PORT = 5194


class OpenVpn:
    """TLS with certificates that name each other; the server wants the whole machine, as most do. `more`:
    options of our end."""

    keeps = False  # does its interface stay the same one while it connects again?

    def __init__(self, machine, folder, *more):
        self.machine, self.folder, self.more = machine, folder, more
        self.interface = "tun7"
        prints = {name: self.make_key(name) for name in ("here", "there")}
        self.remote = self.spawn(
            machine.router, "there", "--server", "10.88.0.0", "255.255.255.0", "--topology", "subnet",
            "--dh", "none", "--lport", str(PORT), "--peer-fingerprint", prints["here"],
            "--push", "redirect-gateway def1")
        self.options = ("--client", "--remote", "10.0.0.1", str(PORT), "--nobind", "--peer-fingerprint",
                        prints["there"], "--pull-filter", "ignore", "redirect-gateway", *more)
        self.process = None

    def make_key(self, name):
        """The certificate's fingerprint."""
        def openssl(*args):
            return subprocess.run(["openssl", *args], cwd=self.folder, check=True, text=True,
                                  capture_output=True).stdout

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
        return openssl("x509", "-in", f"{name}.crt", "-noout", "-fingerprint",
                       "-sha256").strip().partition("=")[2]

    def spawn(self, namespace, name, *options):
        parent = os.getpid()

        def enter():
            namespace.enter()
            die_with(parent)

        with open(self.folder / f"{name}.log", "ab") as log:
            return namespace.popen(
                ["openvpn", "--dev", self.interface, "--dev-type", "tun", "--proto", "udp4", "--cert",
                 f"{name}.crt", "--key", f"{name}.key", "--connect-retry", "1", "1",
                 "--suppress-timestamps", *options], enter=enter, cwd=self.folder, stdout=log, stderr=log)

    def adopt(self, daemon):
        daemon.ok("vpn", "adopt", self.interface, "--name", "work", "--apps", f"uid:{APP}",
                  "--route", "0.0.0.0/0", "--lockdown")

    def start(self):
        self.process = self.spawn(self.machine, "here", *self.options)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(timeout=60)
        self.process = None

    def kill(self):
        self.stop(signal.SIGKILL)

    def reconnect(self):
        """As it does by itself when the other end says nothing."""
        log = self.folder / "here.log"
        before = log.read_text().count("Initialization Sequence Completed")
        self.process.send_signal(signal.SIGUSR1)
        wait_for("OpenVPN to be connected again", lambda: log.read_text().count(
            "Initialization Sequence Completed") > before)

    def close(self):
        for process in filter(None, (self.process, self.remote)):
            process.kill()
            process.wait()


class PersistentOpenVpn(OpenVpn):
    """Its interface outlives connections, but not the process."""

    keeps = True

    def __init__(self, machine, folder):
        super().__init__(machine, folder, "--persist-tun")


class WgQuick:
    """By wireguard-go where the kernel has none. Each command sees a /run of its machine's."""

    keeps = False
    FILE = """[Interface]
PrivateKey = {key}
Address = {address}/24
Table = off
{more}
[Peer]
PublicKey = {peer}
AllowedIPs = 0.0.0.0/0
{endpoint}
"""

    def __init__(self, machine, folder):
        self.machine, self.folder = machine, folder
        self.interface = "wg7"
        keys = {name: self.make_key() for name in ("here", "there")}
        self.write("here", keys["here"][0], OURS, keys["there"][1],
                   f"Endpoint = 10.0.0.1:{PORT}\nPersistentKeepalive = 1")
        self.write("there", keys["there"][0], THEIRS, keys["here"][1], more=f"ListenPort = {PORT}")
        self.quick(machine.router, "there", "up")

    @staticmethod
    def make_key():
        """The private one, and the public one."""
        def wg(*args, **options):
            return subprocess.run(["wg", *args], check=True, text=True, capture_output=True,
                                  **options).stdout.strip()

        private = wg("genkey")
        return private, wg("pubkey", input=private)

    def file(self, name):
        return self.folder / name / f"{self.interface}.conf"

    def write(self, name, key, address, peer, endpoint="", more=""):
        (self.folder / name / "run").mkdir(parents=True)
        file = self.file(name)
        file.write_text(self.FILE.format(key=key, address=address, peer=peer, endpoint=endpoint,
                                         more=more))
        file.chmod(0o600)

    def quick(self, namespace, name, verb):
        def enter():
            namespace.enter()
            checked(libc.unshare(CLONE_NEWNS))
            checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
            run = os.fsencode(self.folder / name / "run")
            checked(libc.mount(run, b"/run", None, MS_BIND, None))

        with open(self.folder / f"{name}.log", "a+b") as log:
            code = namespace.popen(["wg-quick", verb, str(self.file(name))], enter=enter, stdout=log,
                                   stderr=log, stdin=subprocess.DEVNULL).wait(timeout=60)
            log.seek(0)
            assert code == 0, log.read().decode()

    def processes(self, namespace):
        """wireguard-go goes into the background."""
        ours, found = os.fstat(namespace.fd).st_ino, []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "comm").read_text() == "wireguard-go\n" \
                        and os.stat(folder / "ns/net").st_ino == ours:
                    found.append(int(folder.name))
        return found

    def adopt(self, daemon):
        """Addresses and routes are those of its file."""
        daemon.ok("vpn", "import", str(self.file("here")), "--name", "work", "--apps", f"uid:{APP}",
                  "--lockdown", "--config", str(daemon.config.parent))

    def start(self):
        self.quick(self.machine, "here", "up")

    def stop(self):
        self.quick(self.machine, "here", "down")

    def kill(self):
        """By force; a WireGuard of the kernel's is no process, and can only be deleted."""
        processes = self.processes(self.machine)
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        if not processes:
            self.machine.ip(f"link del {self.interface}")
        wait_for("the interface to go", lambda: not self.machine.show(f"link show {self.interface}"))

    def reconnect(self):
        self.stop()
        self.start()

    def close(self):
        for namespace in (self.machine, self.machine.router):
            for pid in self.processes(namespace):
                os.kill(pid, signal.SIGKILL)
            wait_for("wireguard-go to be gone", lambda n=namespace: not self.processes(n))


@pytest.fixture
def watch(machine):
    """The app sends, and is seen."""
    with Sender(machine, APP) as sender, Watch(machine, sender) as watch:
        watch.prove()
        yield watch


@pytest.fixture(params=[OpenVpn, PersistentOpenVpn, WgQuick], ids=lambda f: f.__name__)
def tunnel(request, machine, watch, daemon, tmp_path):  # pylint: disable=unused-argument
    made = request.param(machine, tmp_path)
    try:
        yield made
    finally:
        made.close()


def wait_through(machine):
    """The app's own traffic goes by the tunnel; nobody else's does."""
    wait_for("the app to be answered", lambda: udp(machine, APP, seconds=0.5) == OURS)
    assert udp(machine, OTHER) == "10.0.0.2"


def test_comes_goes_and_comes_back(machine, daemon, watch, tunnel):
    tunnel.adopt(daemon)
    watch.begin()
    assert watch.leaks() == [], "before it was ever there"
    tunnel.start()
    wait_vpn(daemon, "work", "up")
    wait_through(machine)
    first = machine.ifindex(tunnel.interface)

    tunnel.reconnect()
    wait_vpn(daemon, "work", "up")
    wait_through(machine)
    assert watch.leaks() == [], "it connected again"
    assert (machine.ifindex(tunnel.interface) == first) == tunnel.keeps

    for end in (tunnel.stop, tunnel.kill):
        end()
        wait_vpn(daemon, "work", "blocked")
        assert watch.leaks() == [], f"{end.__name__}: it is gone"
        assert udp(machine, OTHER) == "10.0.0.2"
        tunnel.start()
        wait_vpn(daemon, "work", "up")
        wait_through(machine)
        assert watch.leaks() == [], f"{end.__name__}: it is back"
    assert machine.ifindex(tunnel.interface) != first


def test_comes_back_while_the_daemon_is_dead(machine, daemon, watch, tunnel):
    tunnel.adopt(daemon)
    watch.begin()
    tunnel.start()
    wait_vpn(daemon, "work", "up")
    wait_through(machine)
    daemon.kill()
    tunnel.kill()
    assert watch.leaks() == []
    tunnel.start()
    wait_for("the interface", lambda: machine.show(f"link show {tunnel.interface}"))
    assert watch.leaks() == [], "another one of the same name"
    daemon.start()
    wait_vpn(daemon, "work", "up")
    wait_through(machine)
    assert watch.leaks() == []
    daemon.ok("vpn", "down", "work")
    assert watch.leaks() == [], "lockdown"
