# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waymark on a machine that systemd runs: what `make install` and `systemctl enable` lead to.

The tests share one box and go from its first start to the uninstallation.
"""

import pathlib
import re
import time

import pytest

from box import BUILD, ROOT, UNIT
from harness import Capture, SERVER4, nft_table, our_rules, wait_for
from test_robustness import Connection

ALICE, BOB, CAROL = 2001, 2002, 2003
USERS = {"alice": ALICE, "bob": BOB, "carol": CAROL}  # nobody; in the group; polkit lets her
ETH0, ETH1 = "10.0.0.2", "10.0.1.2"
REFUSED = "only root and members of group waymark may change networks and assignments"

POLKIT_RULE = """
polkit.addRule(function (action, subject) {
    if (action.id == "org.waymark1.change" && subject.user == "carol")
        return polkit.Result.YES;
});
"""


@pytest.fixture(autouse=True)
def running(box):
    """Before each test the daemon runs as installed, without configuration or assignments."""
    if not getattr(box, "users", None):
        for name, uid in USERS.items():
            box.ok(f"useradd --uid {uid} --no-create-home {name}")
        box.ok("usermod --append --groups waymark bob")
        box.users = USERS
    yield
    if not box.file(UNIT).exists():
        return
    box.ok("rm -rf /run/systemd/system/waymark.service.d")
    box.configure("")
    box.ok("systemctl daemon-reload")
    box.ok("systemctl restart waymark")
    box.ok("waymark reload")
    box.ok("waymark default system")
    box.ok("systemctl stop 'waymark-minivtun@*'")
    for name in re.findall(r'"name":"([^"]*)"', box.ok("waymark --json vpn list")):
        box.ok(f"waymark vpn remove {name}")
    for selector in re.findall(r'"selector":"([^"]*)"', box.ok("waymark --json assignments")):
        box.ok(f"waymark unassign {selector}")


def main_pid(box):
    """As the box numbers it."""
    return int(box.show("MainPID"))


def status(box, pid):
    return dict(line.split(":\t", 1) for line in box.ok(f"cat /proc/{pid}/status").splitlines())


def change_by_bus(box, user, selector="uid:3000"):
    return box("dbus-send --system --print-reply --dest=org.waymark1 /org/waymark1 "
               f"org.waymark1.Manager.Assign string:{selector} string:none string:require", user)


def test_it_runs_and_says_so(box):
    assert box.is_active()
    assert box.show("Type") == "notify"
    assert box.show("StatusText") == "2 networks, 0 assignments"
    assert box("systemctl is-enabled waymark").out == "enabled\n"
    assert '"backend":"maps"' in box.ok("waymark --json status")
    assert box.show("ExecMainStatus") == "0" and box.show("NRestarts") == "0"
    out = box.ok("waymark")
    assert "waymarkd 0" in out and "eth0" in out and "eth1" in out
    assert box.ok("stat -c '%a %U %G' /run/waymark/netd /run/waymark/bus /var/lib/waymark") == \
        "660 root waymark\n666 root root\n700 root root\n"


def test_the_unit_is_as_systemd_wants_it(box):
    result = box(f"systemd-analyze verify {UNIT}")  # also finds the manual pages
    assert (result.code, result.out, result.err) == (0, "", "")
    exposure = re.search(r"level for waymark.service: ([0-9.]+)",
                         box("systemd-analyze security --no-pager waymark").out)
    assert float(exposure[1]) <= 2.7  # with /dev/net/tun
    assert box.ok("man --where 8 waymarkd").endswith("/man8/waymarkd.8\n")


def test_it_has_six_capabilities_and_cannot_get_others(box):
    fields = status(box, main_pid(box))
    six = sum(1 << n for n in (0, 2, 12, 19, 38, 39))  # as the unit lists them
    assert [int(fields[f"Cap{name}"], 16) for name in ("Prm", "Eff", "Bnd")] == [six] * 3
    assert [int(fields[f"Cap{name}"], 16) for name in ("Inh", "Amb")] == [0, 0]
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"


def test_it_sees_the_machine_read_only(box):
    mounts = {}
    for line in box.ok(f"cat /proc/{main_pid(box)}/mountinfo").splitlines():
        mounts[line.split()[4]] = line.split()[5].split(",")[0]
    assert mounts["/"] == mounts["/etc/waymark"] == mounts["/proc/sys"] == "ro"
    writable = {path for path, mode in mounts.items() if mode == "rw"
                if path.startswith(("/proc/sys", "/var/lib", "/run/waymark", "/etc"))}
    assert writable == {"/run/waymark", "/var/lib/waymark", "/proc/sys/net/ipv4/fwmark_reflect",
                        "/proc/sys/net/ipv4/tcp_fwmark_accept",
                        "/proc/sys/net/ipv6/fwmark_reflect", "/proc/sys/net/ipv4/conf",
                        "/proc/sys/net/ipv6/conf"}


def test_without_capabilities_for_programs_it_is_rules(box):
    box.drop_in("CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_CHOWN")
    box.ok("systemctl restart waymark")
    assert '"backend":"rules"' in box.ok("waymark --json status")
    assert "has not the capabilities CAP_BPF and CAP_PERFMON" in box.ok("waymark doctor")
    box.ok("waymark assign user:alice eth1")
    assert "uidrange" in box.ok("ip rule")


@pytest.mark.parametrize("missing, what", [("CAP_NET_ADMIN", "the daemon does not start"),
                                           ("CAP_CHOWN", "the group cannot use netd")])
def test_both_capabilities_are_needed(box, missing, what):
    kept = {"CAP_NET_ADMIN", "CAP_CHOWN"} - {missing}
    box.drop_in(f"CapabilityBoundingSet=\nCapabilityBoundingSet={kept.pop()}\nRestart=no")
    result = box("systemctl restart waymark")
    if missing == "CAP_NET_ADMIN":
        assert result.code != 0, what
    else:
        assert result.code == 0
        assert box.ok("stat -c %G /run/waymark/netd") == "root\n", what


def test_the_sysctls_are_written_through_the_sandbox(box):
    names = "net.ipv4.tcp_fwmark_accept net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect"
    box.ok("waymark panic-off")
    assert box.ok(f"sysctl -n {names}") == "0\n0\n0\n"
    box.ok("waymark reload")
    assert box.ok(f"sysctl -n {names}") == "1\n1\n1\n"


def test_no_system_call_is_missing(box, host):
    """What is filtered kills here, so that nothing fails unseen."""
    box.drop_in("SystemCallErrorNumber=kill")
    box.ok("systemctl restart waymark")
    box.ok("waymark assign user:alice eth1")
    assert "rules and" in box.ok("waymark doctor")
    assert box.ok("waymark verify").startswith("proved")
    pid = box.ok("sh -c 'sleep 30 >/dev/null 2>&1 & echo $!'", "alice").strip()
    out = box.ok(f"waymark explain --pid {pid} {SERVER4}")
    assert re.search(rf"uid {ALICE}\b", out) and "by eth1" in out
    box.ok(f"kill {pid}")

    box.ok("waymark network add office --interface eth1")
    box.ok("waymark route add office 203.0.113.0/24 via 10.0.1.1")
    host.run(["nft", "delete", "table", "inet", "waymark"])
    wait_for("the guard", lambda: nft_table(host))
    box.ok("waymark network remove office")
    box.ok("systemctl reload waymark")
    box.ok("waymark panic-off")
    box.ok("waymark reload")
    assert box.show("NRestarts") == "0" and "SIGSYS" not in box.journal()


# VPNs.

INNER, KEY = "10.7.0.1", "a key of the tests"


@pytest.fixture(name="tunnel")
def server_of_a_tunnel(host):
    """A minivtun server behind the uplinks; its own end of the tunnel answers pings."""
    command = [str(BUILD / "src/waymark-minivtun"), "-l", "0.0.0.0:1414", "-a", f"{INNER}/24",
               "-e", KEY, "--log-level", "err"]
    with host.router.popen(command) as server:
        try:
            wait_for("its interface", lambda: host.router.show(f"addr show to {INNER}"))
            yield f"-r 10.0.0.1:1414 -a 10.7.0.2/24 -e '{KEY}'"
        finally:
            server.terminate()


def is_up(box, name):
    return '"state":"up"' in box.ok("waymark --json vpn list") and name in box.ok("waymark vpn list")


def test_a_vpn_of_a_users_own(box, host, tunnel):
    """The daemon in its sandbox can make the interface, and its user needs nothing but consent."""
    start = ["sh", "-c", f"waymark-minivtun {tunnel} --waymark home >/tmp/home.log 2>&1 & echo $!"]
    assert "consent" in box(f"timeout 20 waymark-minivtun {tunnel} --waymark home", "alice").err
    box.ok("waymark vpn consent user:alice")
    pid = box.ok(start, "alice").strip()
    wait_for("the tunnel", lambda: is_up(box, "home"))
    assert host.source(ALICE) == "10.7.0.2" and host.source(CAROL) == ETH0
    box.ok(f"kill {pid}")
    wait_for("it to go", lambda: "home" not in box.ok("waymark vpn list"))
    box.ok("waymark vpn consent --revoke user:alice")


def test_its_interface_is_set_up_through_the_sandbox(box, tunnel):
    """Where the machine filters strictly by the reverse path, and believes routers."""
    box.ok("sysctl -w net.ipv4.conf.all.rp_filter=1")
    pid = box.ok(["sh", "-c", f"waymark-minivtun {tunnel} --waymark home >/tmp/home.log 2>&1 & echo $!"])
    try:
        wait_for("the tunnel", lambda: is_up(box, "home"))
        name = re.search(r"wmtun\d+", box.ok("waymark vpn show home"))[0]
        assert box.ok(f"sysctl -n net.ipv4.conf.{name}.rp_filter net.ipv6.conf.{name}.accept_ra "
                      f"net.ipv4.conf.{name}.accept_redirects") == "2\n0\n0\n"
    finally:
        box.ok("sysctl -w net.ipv4.conf.all.rp_filter=0")
        box.ok(f"kill {pid}")
    wait_for("it to go", lambda: "home" not in box.ok("waymark vpn list"))


def test_an_engine_that_is_a_unit(box, host, tunnel):
    """Systemd starts it for us, and again when it dies; taken down, it ends."""
    box.ok("mkdir -p /etc/waymark/minivtun")
    box.file("/etc/waymark/minivtun/work.conf").write_text(
        f"OPTIONS={tunnel} --waymark work\n".replace("'" + KEY + "'", f"'{KEY}'"))
    box.configure("[vpn work]\nengine = waymark-minivtun@work.service\napps = user:alice\n"
                  "always-on = yes\n")
    box.ok("waymark reload")
    wait_for("the tunnel", lambda: is_up(box, "work"))
    assert host.source(ALICE) == "10.7.0.2"
    first = box.show("MainPID", "waymark-minivtun@work")
    box.ok("systemctl kill --signal=KILL waymark-minivtun@work")
    assert host.source(ALICE, seconds=0.5) not in (ETH0, ETH1)
    wait_for("the next one", lambda: box.show("MainPID", "waymark-minivtun@work") not in (first, "0"))
    wait_for("its tunnel", lambda: host.source(ALICE) == "10.7.0.2")
    box.ok("waymark vpn down work")
    wait_for("it to end", lambda: box.show("MainPID", "waymark-minivtun@work") == "0")
    assert host.source(ALICE, seconds=0.5) not in (ETH0, ETH1), "it is to be always on"
    box.configure("")
    box.ok("waymark reload")


ENGINE = "waymark-engine-work"


def profile(command, more=""):
    return f"[vpn work]\nowner = user:alice\nengine = {command}\napps = user:alice\n{more}"


def starts(box):
    """How often systemd has started it since its boot."""
    return box.journal(ENGINE).count("Started ")


def test_an_engine_that_is_a_command(box, host, tunnel):
    """Systemd runs it, too: as its owner, and not below the daemon, which may come and go."""
    program = box.ok("which waymark-minivtun").strip()
    box.configure(profile(f"{program} {tunnel} --waymark work"))
    box.ok("waymark reload")
    assert not box.is_active(ENGINE) and host.source(ALICE) == ETH0, "nobody wants it up"
    box.ok("waymark vpn up work")
    assert host.source(ALICE) == "10.7.0.2" and host.source(CAROL) == ETH0
    assert (box.show("User", ENGINE), box.show("NoNewPrivileges", ENGINE)) == (str(ALICE), "yes")
    first = box.show("MainPID", ENGINE)
    assert status(box, first)["Uid"].split() == [str(ALICE)] * 4
    assert status(box, first)["CapEff"].strip("0") == ""

    box.ok("systemctl restart waymark")
    wait_for("the tunnel", lambda: is_up(box, "work"))
    assert box.show("MainPID", ENGINE) == first and host.source(ALICE) == "10.7.0.2"

    box.ok(f"systemctl kill --signal=KILL {ENGINE}")
    assert host.source(ALICE, seconds=0.5) not in (ETH0, ETH1)
    wait_for("the next one", lambda: box.show("MainPID", ENGINE) not in (first, "0"))
    wait_for("its tunnel", lambda: host.source(ALICE) == "10.7.0.2")

    box.ok("waymark vpn down work")
    wait_for("it to end", lambda: not box.is_active(ENGINE))
    assert host.source(ALICE) == ETH0, "neither lockdown nor always-on"
    wait_for("nothing to be left", lambda: box.show("LoadState", ENGINE) == "not-found")


def test_a_command_that_fails_is_tried_ever_more_seldom(box, host):
    box.configure(profile("/bin/false", "always-on = yes\n"))
    before = starts(box)
    box.ok("waymark reload")
    wait_for("the third try", lambda: starts(box) - before >= 3)
    assert "systemd does not start" not in box.journal()
    assert host.source(ALICE, seconds=0.5) not in (ETH0, ETH1)
    tries = [float(line.split(maxsplit=1)[0]) for line in box.ok(
        f"journalctl --no-pager -b -u {ENGINE} -o short-unix").splitlines()
             if "Started " in line][before:]
    assert tries[2] - tries[1] > tries[1] - tries[0] > 0.9, "after 1 s, then 2 s"
    box.ok("waymark vpn down work")
    count = starts(box)
    time.sleep(4.5)
    assert starts(box) == count, "it is down by choice"


# The keystore.

KEYSTORED = "waymark-keystored"
ASK = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/waymark/keystore'); "
       "s.sendall(bytes.fromhex(sys.argv[1])); s.shutdown(1); print(s.makefile('rb').read().hex())")


def ask(box, user, code, *parameters):
    """What the keystore answers: bytes."""
    request = code + b"".join(len(p).to_bytes(2, "big") + p for p in parameters)
    return bytes.fromhex(box.ok(["python3", "-c", ASK, request.hex()], user))


def test_the_keystore_is_started_by_its_socket(box):
    box.ok(f"systemctl enable --now {KEYSTORED}.socket")
    assert not box.is_active(KEYSTORED)
    assert ask(box, "alice", b"t") == b"\3", "uninitialized"
    assert box.is_active(KEYSTORED)
    assert box.ok("stat -c '%a %U' /run/waymark/keystore /var/lib/waymark-keystore") == \
        "666 root\n700 waymark-keystore\n"
    fields = status(box, int(box.show("MainPID", KEYSTORED)))
    assert fields["Uid"].split() == [box.ok("id -u waymark-keystore").strip()] * 4
    assert [int(fields[f"Cap{name}"], 16) for name in ("Prm", "Eff", "Bnd")] == [0] * 3
    assert fields["NoNewPrivs"] == "1" and int(fields["Seccomp_filters"]) >= 2
    result = box(f"systemd-analyze verify {KEYSTORED}.socket")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_the_keystore_keeps_and_grants(box):
    """In the sandbox of the unit, with what that filters killing."""
    folder = f"/run/systemd/system/{KEYSTORED}.service.d"
    box.ok(f"mkdir -p {folder}")
    box.ok(["sh", "-c", f"printf '[Service]\nSystemCallErrorNumber=kill\n' >{folder}/test.conf"])
    box.ok("systemctl daemon-reload")
    box.ok(f"systemctl restart {KEYSTORED}")
    vpn = box.ok("id -u waymark-vpn").strip().encode()
    assert ask(box, "waymark", b"p", b"", b"secret") == b"\1"
    assert ask(box, "alice", b"i", b"key", b"value") == b"\1"
    assert ask(box, "waymark-vpn", b"g", b"key") == b"\7"
    assert ask(box, "alice", b"x", b"key", vpn) == b"\1"
    assert ask(box, "waymark-vpn", b"g", b"key") == b"\1\0\5value"
    box.ok(f"systemctl restart {KEYSTORED}")
    assert ask(box, "alice", b"g", b"key") == b"\2"
    assert ask(box, "waymark", b"u", b"secret") == b"\1"
    assert ask(box, "alice", b"g", b"key") == b"\1\0\5value"
    journal = box.journal(KEYSTORED)
    assert f"uid: {ALICE} action: g -> 1 state: 1 -> 1 retry: 4" in journal
    assert "value" not in journal and "SIGSYS" not in journal
    assert box.show("NRestarts", KEYSTORED) == "0"
    box.ok(f"rm -r {folder}")
    box.ok("systemctl daemon-reload")
    box.ok(f"systemctl disable --now {KEYSTORED}.socket {KEYSTORED}.service")


# Who may.

@pytest.mark.parametrize("user, may", [(None, True), ("bob", True), ("alice", False)])
def test_who_may_change_by_the_socket(box, user, may):
    result = box("waymark assign uid:3000 eth1", user)
    assert result.code == (0 if may else 4)
    assert may or REFUSED in result.err
    assert box("waymark", "alice").code == 0


@pytest.mark.parametrize("user, may", [(None, True), ("bob", True), ("alice", False)])
def test_who_may_change_by_the_system_bus(box, user, may):
    result = change_by_bus(box, user)
    assert (result.code == 0) == may
    assert may or REFUSED in result.err
    assert box("busctl get-property org.waymark1 /org/waymark1 org.waymark1.Manager Version",
               "alice").out == 's "0.1.0"\n'


def test_nobody_else_can_take_the_name(box):
    box.ok("systemctl stop waymark")
    call = ("dbus-send --system --print-reply --dest=org.freedesktop.DBus / "
            "org.freedesktop.DBus.RequestName string:org.waymark1 uint32:0")
    assert "not allowed to own" in box(call, "bob").err


def test_polkit(box):
    action = box.ok("pkaction --verbose --action-id org.waymark1.change")
    assert re.search(r"implicit active: +auth_admin_keep", action)
    assert re.search(r"implicit any: +auth_admin\n", action)
    assert box("waymark assign uid:3000 none", "carol").code == 4

    rule = "/etc/polkit-1/rules.d/50-waymark-test.rules"
    box.file(rule).write_text(POLKIT_RULE, encoding="utf-8")
    box.ok(f"chown polkitd {rule}")
    wait_for("polkit to read its rules",
             lambda: box("waymark assign uid:3000 none", "carol").code == 0)
    assert change_by_bus(box, "carol", "uid:3001").code == 0
    assert box("waymark assign uid:3002 none", "alice").code == 4
    box.ok(f"rm {rule}")
    wait_for("polkit to forget them",
             lambda: box("waymark assign uid:3000 none", "carol").code == 4)


# Its life.

def test_the_watchdog_restarts_what_hangs_and_nothing_is_lost(box, host):
    assert box.show("WatchdogUSec") == "1min"
    box.drop_in("WatchdogSec=3s")
    box.ok("systemctl restart waymark")
    box.ok("waymark assign user:alice eth1")
    box.ok("sleep 5")
    pid, rules = main_pid(box), our_rules(host)
    assert box.show("NRestarts") == "0", "it pings"

    box.ok(f"kill -STOP {pid}")
    wait_for("the restart", lambda: box.is_active() and main_pid(box) not in (0, pid))
    assert "Watchdog timeout" in box.journal()
    assert our_rules(host) == rules
    assert host.source(uid=ALICE) == ETH1


def test_reload(box, host):
    box.configure("[assignments]\nassign = user:alice eth1\n")
    pid = main_pid(box)
    box.ok("systemctl reload waymark")
    assert host.source(uid=ALICE) == ETH1

    box.configure("[assignments]\nassing = user:alice eth0\n")
    assert box("systemctl reload waymark").code != 0
    assert "/etc/waymark/waymark.conf:2: section [assignments] has no key 'assing'" in box.journal()
    assert host.source(uid=ALICE) == ETH1

    box.configure("[assignments]\nassign = user:alice eth0\n")
    box.ok("systemctl kill --signal=HUP waymark")
    wait_for("the new configuration", lambda: host.source(uid=ALICE) == ETH0)
    assert box.is_active() and main_pid(box) == pid


def test_a_restart_drops_nothing(box, host):
    box.ok("waymark assign user:alice eth1")
    rules, table = our_rules(host), sorted(nft_table(host).splitlines())
    connection, capture = Connection(host, ALICE), Capture(host)
    for _ in range(3):
        box.ok("systemctl restart waymark")
        assert connection.is_alive()
        assert host.source(uid=ALICE) == ETH1
    assert our_rules(host) == rules
    assert sorted(nft_table(host).splitlines()) == table
    assert not [p for p in capture.packets() if p[0] == "eth0" and p[1] == ETH1]
    capture.close()
    connection.close()


def test_a_stop_leaves_the_rules(box, host):
    box.ok("waymark assign user:alice eth1")
    box.ok("waymark assign user:carol none")
    rules = our_rules(host)
    box.ok("systemctl stop waymark")
    assert our_rules(host) == rules
    assert host.source(uid=ALICE) == ETH1
    assert host.source(uid=CAROL) == "EACCES"
    assert box("waymark").code == 8


def test_panic_off_outlives_the_service(box, host):
    box.ok("waymark assign user:alice eth1")
    box.ok("systemctl stop waymark")
    box.ok("waymark panic-off")
    assert our_rules(host) == []
    box.ok("systemctl start waymark")
    assert our_rules(host) == [] and host.source(uid=ALICE) == ETH0
    box.ok("systemctl reload waymark")
    assert host.source(uid=ALICE) == ETH1


def test_a_bad_configuration_is_named_and_mended(box, host):
    box.ok("waymark assign user:alice eth1")
    box.configure("[nonsense]\n")
    assert box("systemctl restart waymark").code != 0
    assert "/etc/waymark/waymark.conf:1: there is no section [nonsense]" in box.journal()
    assert host.source(uid=ALICE) == ETH1, "what the kernel has, stays"
    box.configure("")
    wait_for("systemd to try again", box.is_active)


def test_a_call_starts_it_only_where_it_is_enabled(box):
    call = "busctl get-property org.waymark1 /org/waymark1 org.waymark1.Manager Off"
    box.ok("systemctl stop waymark")
    assert box(call, "alice").out == "b false\n"
    assert box.is_active()

    box.ok("systemctl disable --now waymark")
    assert box(call, "alice").code != 0
    assert not box.is_active()
    box.ok("systemctl enable waymark")


def test_at_boot_it_comes_before_the_network(box, host):
    """And systemd-networkd, which may take our rules for its own, leaves them or they are back."""
    box.ok("waymark assign user:alice eth1")
    box.ok("systemctl enable systemd-networkd")
    box.halt()
    rules = our_rules(host)
    box.boot()
    wait_for("the daemon", box.is_active)

    def entered(unit):
        return int(box.show("ActiveEnterTimestampMonotonic", unit))

    assert entered("waymark") <= entered("network-pre.target")
    assert entered("waymark") <= int(
        box.show("ExecMainStartTimestampMonotonic", "systemd-networkd"))
    assert "ordering cycle" not in box.ok("journalctl --no-pager -b -o cat")
    wait_for("the rules", lambda: our_rules(host) == rules)
    assert host.source(uid=ALICE) == ETH1
    assert "ManageForeignRoutingPolicyRules" in box("waymark doctor").out
    wait_for("the system bus", lambda: box("busctl status org.waymark1").code == 0)
    box.ok("systemctl disable systemd-networkd")


def test_uninstall_waits_for_a_daemon_that_is_not_systemds(box):
    box.ok("systemctl stop waymark")
    box.ok("sh -c 'waymarkd >/dev/null 2>&1 &'")
    wait_for("the daemon", lambda: box("waymark default").code == 0)
    result = box(f"{ROOT}/tools/uninstall {BUILD}")
    assert result.code == 1 and "did not start runs: end it" in result.err
    assert box.file("/usr/local/sbin/waymarkd").exists()
    box.ok("pkill -x waymarkd")
    wait_for("its end", lambda: box("pgrep -x waymarkd").code == 1)
    box.ok("systemctl enable waymark")


def test_uninstall(box, host):
    installed = re.findall(r'": "(/[^"]+)"', box.ok(f"meson introspect --installed {BUILD}"))
    assert len(installed) >= 14 and all(box.file(path).exists() for path in installed)
    box.ok("waymark assign user:alice eth1")
    box.configure("# mine\n")

    out = box.ok(f"{ROOT}/tools/uninstall {BUILD}")
    assert "kept: /etc/waymark" in out and "kept: /var/lib/waymark" in out
    assert our_rules(host) == [] and nft_table(host) == ""
    assert host.source(uid=ALICE) == ETH0
    assert [path for path in installed if box.file(path).exists()] == []
    assert box.show("LoadState") == "not-found"
    assert box("systemctl --quiet is-failed waymark").code != 0
    left = box.ok("find /usr /etc /run /var/lib -xdev -path /usr/lib -prune -o "
                  "-name '*waymark*' -print").split()
    assert sorted(left) == ["/etc/waymark", "/etc/waymark/waymark.conf", "/var/lib/waymark",
                            "/var/lib/waymark-keystore"]
    assert pathlib.Path(box.file("/etc/waymark/waymark.conf")).read_text("utf-8") == "# mine\n"
