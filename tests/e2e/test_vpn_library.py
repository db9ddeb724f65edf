# SPDX-License-Identifier: LGPL-2.1-or-later
"""libwaymark's VPNs (programs/vpn-client.c): what the library refuses by itself, what it says to the
daemon, and what it makes of a daemon that answers what the real one hardly does. With the real one:
test_toyvpn.py."""

import os
import re
import subprocess

import pytest

from harness import ROOT, WAIT, check_sanitizers
from library import PROGRAMS
from vpn_fake import HANG_UP, Answer, FakeService, established, pipes, revoked

CLIENT = PROGRAMS / "vpn-client"
YES, NO = Answer("b", True), Answer("b", False)


def run(runtime, *words):
    """What vpn-client prints, line by line."""
    env = {"PATH": os.environ["PATH"], "WAYMARK_RUNTIME_DIR": str(runtime)}
    env |= {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
    done = subprocess.run([CLIENT, *" ".join(map(str, words)).split()], env=env, timeout=WAIT * 3,
                          capture_output=True, text=True, check=False)
    check_sanitizers(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def fake(folder, **answers):
    return FakeService(str(folder / "bus"), **answers)


# Without a daemon.

REFUSED = [
    # android.md §5.2, line by line
    ("mtu 0", "EINVAL"), ("mtu 1", "ok"), ("mtu 65536", "EINVAL"),
    ("address 127.0.0.1 8", "EINVAL"), ("address ::1 128", "EINVAL"), ("address 0.0.0.0 0", "EINVAL"),
    ("address :: 64", "EINVAL"), ("address 10.0.0.1 33", "EINVAL"), ("address fd00::1 129", "EINVAL"),
    ("address 10.0.0.1 0", "ok"), ("address 10.0.0.1 32", "ok"), ("address fd00::1 128", "ok"),
    ("address nonsense 8", "EINVAL"), ("address 10.0.0.1/8 8", "EINVAL"), ("address - 8", "EINVAL"),
    ("route 127.0.0.0 8", "EINVAL"), ("route 10.0.0.1 8", "EINVAL"), ("route 10.0.0.0 33", "EINVAL"),
    ("route 0.0.0.0 0", "ok"), ("route :: 0", "ok"), ("route fd00::1 64", "EINVAL"),
    ("route - 0", "EINVAL"), ("exclude 127.0.0.1 32", "EINVAL"), ("exclude 10.0.0.1 8", "EINVAL"),
    ("exclude 10.0.0.0 8", "ok"), ("exclude ::1 128", "EINVAL"), ("exclude fd00:: 129", "EINVAL"),
    ("dns 127.0.0.53", "EINVAL"), ("dns ::1", "EINVAL"), ("dns 0.0.0.0", "EINVAL"),
    ("dns ::", "EINVAL"), ("dns name", "EINVAL"), ("dns -", "EINVAL"), ("dns 192.0.2.53", "ok"),
    ("domain example", "ok"), ("domain -", "EINVAL"),
    ("proxy - 0", "ok"), ("proxy host 0", "EINVAL"), ("proxy host 65536", "EINVAL"),
    ("proxy host 8080", "ok"), ("family 4", "ok"), ("family 6", "ok"), ("family 1", "EINVAL"),
    ("bypass", "ok"), ("blocking 1", "ok"), ("session -", "ok"), ("session x", "ok"),
    ("metered 0", "ok"), ("offloads 1", "ok"),
    ("queues 0", "EINVAL"), ("queues 1", "ok"), ("queues 16", "ok"), ("queues 17", "EINVAL"),
    ("allow -", "EINVAL"), ("disallow -", "EINVAL"),
    ("underlying -", "ok"), ("underlying none", "ok"), ("underlying 100,101", "ok"),
    ("underlying bad", "EINVAL"), ("underlying 0", "EINVAL"), ("underlying 100,bad", "EINVAL"),
    ("lan -", "ok"), ("lan link-local", "ok"), ("lan 192.168.0.0/16,fd00::/8", "ok"),
    ("lan 192.168.0.1/16", "EINVAL"), ("lan everything", "EINVAL"),
]


def test_what_cannot_be_right_is_refused_at_once(tmp_path):
    lines = run(tmp_path, "new work", *[words for words, _ in REFUSED])
    assert list(zip([words for words, _ in REFUSED], lines[1:])) == REFUSED


def test_apps_are_allowed_or_disallowed(tmp_path):
    """Android's UnsupportedOperationException."""
    for one, other in (("allow", "disallow"), ("disallow", "allow")):
        assert run(tmp_path, f"new work {one} uid:1 {other} uid:2 {one} uid:3") == \
            ["ok", "ok", "EPERM", "ok"]


def test_more_than_fits_is_refused_before_the_daemon_hangs_up(tmp_path):
    assert run(tmp_path, "new work too-much address 10.0.0.1 8 mtu 1400") == \
        ["ok", "E2BIG", "E2BIG", "ok"]


def test_null_is_refused_and_errno_stays(tmp_path):
    lines = run(tmp_path, "null errno")
    assert [line.split() for line in lines] == [["1"], ["0", "ELIBBAD"]]


def test_nobody_listens(tmp_path):
    lines = run(tmp_path, "new work prepare 0 error establish error")
    assert lines[1::2] == ["ECONNREFUSED"] * 2
    assert all("waymarkd is not running" in line for line in lines[2::2])


# What is said.

def test_nothing_is_said_of_what_was_not_set(tmp_path):
    with pipes(1) as (fds, _), fake(tmp_path, Prepare=YES, Establish=established(fds)) as service:
        assert run(tmp_path, "new work establish") == ["ok", "ok"]
    assert service.calls == [("Prepare", ["work", {"Interactive": False, "Everyone": False}]),
                             ("Establish", ["work", {}])]
    assert service.connections == 1, "it is prepared and established by the same"


def test_all_that_is_set_is_said(tmp_path):
    names = [Answer("v", ("s", name)) for name in ("eth0", "eth1")]
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=YES, Establish=established(fds), Get=names) as service:
        lines = run(
            tmp_path, "new work session Work address 10.9.0.2 24 address FD00::0:2 64 route 0.0.0.0 0",
            "route 10.0.0.0 8 route 0.0.0.0 0 exclude 192.168.0.0 16 dns 192.0.2.53 domain example",
            "domain test proxy ::1 8080 family 6 bypass blocking 1 allow uid:1000 allow exe:/bin/sh",
            "underlying 100,101 metered 1 lan link-local,10.1.0.0/16 mtu 1400 queues 4 offloads 1",
            "prepare 3 establish")
        assert set(lines) == {"ok"}, lines
    (name, said), = service.called("Establish")
    assert (name, said) == ("work", {
        "Session": "Work", "Addresses": ["10.9.0.2/24", "fd00::2/64"],
        "Routes": ["0.0.0.0/0", "10.0.0.0/8"], "ExcludeRoutes": ["192.168.0.0/16"],
        "Dns": ["192.0.2.53"], "Domains": ["example", "test"], "HttpProxy": "[::1]:8080",
        "AllowFamilies": ["inet6"], "AllowBypass": True, "Blocking": True,
        "Allowed": ["uid:1000", "exe:/bin/sh"], "Underlying": ["eth0", "eth1"], "Metered": True,
        "Lan": ["link-local", "10.1.0.0/16"], "Mtu": 1400, "Queues": 4, "Offloads": True})
    assert service.called("Prepare") == [["work", {"Interactive": True, "Everyone": True}]]


def test_the_last_word_on_a_prefix_counts(tmp_path):
    """android.md §5.2, excludeRoute."""
    with pipes(1) as (fds, _), fake(tmp_path, Prepare=YES, Establish=established(fds)) as service:
        run(tmp_path, "new work route 10.0.0.0 8 exclude 10.0.0.0 8 exclude 10.1.0.0 16",
            "route 10.1.0.0 16 route 10.2.0.0 16 establish")
    (_, said), = service.called("Establish")
    assert said == {"Routes": ["10.1.0.0/16", "10.2.0.0/16"], "ExcludeRoutes": ["10.0.0.0/8"]}


def test_no_underlying_network_is_not_the_default(tmp_path):
    with pipes(1) as (fds, _), fake(tmp_path, Prepare=YES, Establish=established(fds)) as service:
        run(tmp_path, "new work underlying none establish underlying - establish")
    assert [said for _, said in service.called("Establish")] == [{"Underlying": []}, {}]


def test_a_handover_comes_by_another_connection(tmp_path):
    """Each VPN keeps its own; consent is asked for anew, and nobody is disturbed for it."""
    with pipes(2) as (fds, ends):
        answers = [established(fds[:1], interface="wmtun0"), established(fds[1:], interface="wmtun1")]
        with fake(tmp_path, Prepare=YES, Establish=answers) as service:
            lines = run(tmp_path, "new work prepare 3 establish interface network fds mtu 1300",
                        "establish interface network free-oldest interface")
        for fd in fds:
            fd.close()
        assert [end.recv(1) for end in ends] == [b"", b""], "all is closed in the end"
    assert lines == ["ok", "ok", "ok", "wmtun0", "1000", "1 blocking", "ok", "ok", "wmtun1", "1000",
                     "ok", "wmtun1"]
    assert service.connections == 2
    assert service.called("Prepare") == [["work", {"Interactive": True, "Everyone": True}],
                                         ["work", {"Interactive": False, "Everyone": True}]]


def test_what_a_vpn_may_ask_for(tmp_path):
    done = Answer()
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=YES, Establish=established(fds), AddAddress=done,
                 RemoveAddress=done, SetUnderlying=done, ReportState=done, Disconnect=done,
                 Get=Answer("v", ("s", "eth0"))) as service:
        lines = run(tmp_path, "new work establish add fd00::5 64 remove 10.0.0.5 8 set-underlying 100",
                    "set-underlying - set-underlying none report 0 - report 1 good report 2 bad",
                    "disconnect")
        assert set(lines) == {"ok"}
        assert run(tmp_path, "new work establish add 127.0.0.1 8 remove nonsense 8 report 3 -",
                   "set-underlying bad")[2:] == ["EINVAL"] * 4
    said = [call for call in service.calls if call[0] not in ("Prepare", "Establish", "Get")]
    assert said == [
        ("AddAddress", ["work", "fd00::5/64"]), ("RemoveAddress", ["work", "10.0.0.5/8"]),
        ("SetUnderlying", ["work", False, ["eth0"]]), ("SetUnderlying", ["work", True, []]),
        ("SetUnderlying", ["work", False, []]), ("ReportState", ["work", "connecting", ""]),
        ("ReportState", ["work", "connected", "good"]), ("ReportState", ["work", "failed", "bad"]),
        ("Disconnect", ["work"])]


# What is answered.

def test_descriptors_are_handed_over_whole(tmp_path):
    with pipes(16) as (fds, _), fake(tmp_path, Prepare=YES, Establish=established(fds)):
        assert run(tmp_path, "new work queues 16 establish fds")[-1] == "16 blocking"


def test_nobody_has_consented(tmp_path):
    with fake(tmp_path, Prepare=NO) as service:
        lines = run(tmp_path, "new work prepare 0 error establish error")
    assert lines[1::2] == ["EACCES"] * 2
    assert all("nobody has consented to the VPN 'work'" in line for line in lines[2::2])
    assert not service.called("Establish")


@pytest.mark.parametrize("name, error", [
    ("System.Error.EPERM", "EPERM"), ("System.Error.EBUSY", "EBUSY"), ("System.Error.E2BIG", "E2BIG"),
    ("System.Error.EEXIST", "EEXIST"), ("System.Error.EUSERS", "EUSERS"),
    ("org.freedesktop.DBus.Error.InvalidArgs", "EINVAL"),
    ("org.freedesktop.DBus.Error.AccessDenied", "EACCES"),
    ("org.freedesktop.DBus.Error.UnknownInterface", "EOPNOTSUPP"),
    ("org.freedesktop.DBus.Error.UnknownMethod", "EOPNOTSUPP"),
])
def test_a_refusal_keeps_its_errno_and_its_sentence(tmp_path, name, error):
    refusal = Answer(name, "because of the weather")
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=YES, Establish=[refusal, established(fds)],
                 AddAddress=refusal) as service:
        assert run(tmp_path, "new work prepare 0 establish error establish error add 10.0.0.5 8",
                   "vpn-error") == \
            ["ok", "ok", error, "because of the weather", "ok", "", error, "because of the weather"]
    assert len(service.called("Prepare")) == 1, "after a refusal it is prepared still"


def test_an_underlying_network_that_is_not_there(tmp_path):
    gone = Answer("org.freedesktop.DBus.Error.UnknownObject", "no such object")
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=YES, Establish=established(fds), Get=gone):
        assert run(tmp_path, "new work underlying 100 establish error underlying - establish",
                   "set-underlying 100 vpn-error")[2:] == \
            ["ENONET", "there is no network with the netId 100", "ok", "ok", "ENONET",
             "there is no network with the netId 100"]


@pytest.mark.parametrize("answer", [
    Answer(), Answer("s", "yes"), Answer("osah", "/org/waymark1/vpn/1000", "wmtun0", []),
    Answer("osah", "/org/waymark1/vpn/x", "wmtun0", []), Answer("os", "/org/waymark1/vpn/1", "x"),
], ids=["nothing", "text", "no descriptor", "no netId", "no list"])
def test_an_answer_that_makes_no_sense(tmp_path, answer):
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=YES, Establish=[answer, established(fds)]):
        lines = run(tmp_path, "new work establish error establish")
    assert lines[1] == "EBADMSG" and "of another version" in lines[2] and lines[3] == "ok"


def test_descriptors_of_an_answer_that_makes_no_sense_are_closed(tmp_path):
    with pipes(1) as (fds, ends):
        bad = Answer("osah", "/org/waymark1/vpn/x", "wmtun0", [0], fds=[fds[0].fileno()])
        with fake(tmp_path, Prepare=YES, Establish=bad):
            assert run(tmp_path, "new work establish") == ["ok", "EBADMSG"]
        fds[0].close()
        assert ends[0].recv(1) == b""


def test_a_daemon_that_hangs_up(tmp_path):
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=[HANG_UP, YES], Establish=[HANG_UP, established(fds)],
                 AddAddress=HANG_UP):
        assert run(tmp_path, "new work prepare 0 prepare 0 establish establish add 10.0.0.5 8",
                   "wait dispatch") == \
            ["ok", "ECONNRESET", "ok", "ECONNRESET", "ok", "ECONNRESET", "readable", "ECONNRESET"]


def test_no_descriptors_are_agreed_on(tmp_path):
    """A daemon that would not pass any: the answer cannot be read."""
    with fake(tmp_path, agree=False, Prepare=YES, Establish=Answer()):
        assert run(tmp_path, "new work establish") == ["ok", "EBADMSG"]


def test_without_room_for_descriptors_nothing_is_asked(tmp_path):
    """What the daemon gives away must arrive: an old tunnel would be lost with the new one."""
    with fake(tmp_path, Prepare=YES) as service:
        script = f"ulimit -n 12; exec {CLIENT} new work queues 16 prepare 0 establish"
        env = {"WAYMARK_RUNTIME_DIR": str(tmp_path)}
        env |= {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
        out = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True,
                             check=True).stdout.splitlines()
    assert out == ["ok", "ok", "ok", "EMFILE"]
    assert not service.called("Establish")


# Events.

def test_revoked(tmp_path):
    """Also what came while an answer was waited for, and who is another is not meant."""
    signals = [revoked("other", "not you"), revoked("work", "Bob's \"VPN\" came")]
    for around in ({"before": signals}, {"after": signals}):
        with pipes(1) as (fds, _), \
                fake(tmp_path, Prepare=YES, Establish=established(fds, **around)):
            assert run(tmp_path, "new work establish wait dispatch quiet") == \
                ["ok", "ok", "readable", "revoked wmtun0: Bob's \"VPN\" came", "ok", "nothing"]
        (tmp_path / "bus").unlink()
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=YES, Establish=established(fds),
                 AddAddress=Answer(before=signals)):
        assert run(tmp_path, "new work establish quiet add 10.0.0.5 8 wait dispatch quiet")[2:] == \
            ["nothing", "ok", "readable", "revoked wmtun0: Bob's \"VPN\" came", "ok", "nothing"]


def test_the_callback_may_free_the_vpn(tmp_path):
    with pipes(1) as (fds, ends):
        answer = established(fds, after=[revoked("work", "enough")])
        with fake(tmp_path, Prepare=YES, Establish=answer):
            assert run(tmp_path, "new work establish watch") == \
                ["ok", "ok", "revoked wmtun0: enough", "ok"]
        fds[0].close()
        assert ends[0].recv(1) == b""


def test_a_daemon_that_comes_back(tmp_path):
    """It may still know the VPN, or not."""
    for interfaces, then in ((["wmtun0"], ["nothing"]),
                             (["wmtun1"], ["readable", "revoked wmtun0: it ended while waymarkd was "
                                           "away", "ok"])):
        with pipes(1) as (fds, _), \
                fake(tmp_path, Prepare=YES, Establish=established(fds), ReportState=HANG_UP,
                     Get=Answer("v", ("as", interfaces))) as service:
            lines = run(tmp_path, "new work prepare 2 establish report 1 - dispatch reconnect",
                        "quiet" if len(then) == 1 else "quiet dispatch")
        (tmp_path / "bus").unlink()
        assert lines[3:] == ["ECONNRESET", "ECONNRESET", "ok", *then]
        assert service.called("Prepare") == [["work", {"Interactive": False, "Everyone": True}]] * 2


def test_a_daemon_that_comes_back_and_does_not_know_it(tmp_path):
    gone = Answer("org.freedesktop.DBus.Error.UnknownObject", "no such object")
    with pipes(1) as (fds, _), \
            fake(tmp_path, Prepare=[YES, NO, YES], Establish=established(fds), Get=gone):
        lines = run(tmp_path, "new work establish reconnect vpn-error reconnect wait dispatch")
    assert lines[2] == "EACCES" and "nobody has consented" in lines[3]
    assert lines[4:] == ["ok", "readable", "revoked wmtun0: it ended while waymarkd was away", "ok"]


def test_a_child_can_only_free_it(tmp_path):
    with pipes(1) as (fds, _), fake(tmp_path, Prepare=YES, Establish=established(fds)) as service:
        assert run(tmp_path, "new work establish fork add 10.0.0.5 8 dispatch disconnect free")[2:] \
            == ["ECHILD"] * 3 + ["ok"]
        assert run(tmp_path, "new work prepare 0 fork prepare 0 establish")[2:] == ["ECHILD"] * 2
    assert not service.called("Disconnect")


# The page.

def test_each_setter_names_androids(tmp_path):
    """What waymark.h says of a setter begins with Android's name, where it has that."""
    header = (ROOT / "include/waymark.h").read_text(encoding="utf-8")
    table = (ROOT / "docs/vpn-service.md").read_text(encoding="utf-8")
    names = set(re.findall(r"\bwm_vpn_[a-z_]+(?=\()", header))
    for name in names - {"wm_vpn_callback"}:
        assert f"`{name}()`" in table, name
    for android in re.findall(r"\[((?:[a-z]\w+(?:, )?)+)\]", header.split("Being a VPN")[1]):
        for name in android.split(", "):
            assert name in table, name
