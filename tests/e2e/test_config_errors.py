# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may be wrong with the configuration: each error is said with its place, by a daemon that runs
and by one that starts, and nothing happens."""

import pytest

from harness import WAIT, Instance, Machine, Namespace, our_rules
from test_config import clean, configure, drop_ins, hermit, house, state_of  # noqa: F401

pytestmark = pytest.mark.rules  # whose words and verdicts these are

ALICE = 3001


@pytest.fixture(scope="module")
def strict():
    """A daemon that has a good configuration, and its state with it."""
    machine = Machine()
    daemon = Instance(machine, config=f"[assignments]\nassign = uid:{ALICE} eth1\n")
    try:
        daemon.start()
        yield machine, daemon, state_of(machine, daemon)
    finally:
        daemon.close()
        machine.close()


# Errors: (text of the file, the line that is named, what is said).

ERRORS = [
    ("x = 1", 1, "'x' stands before any [section]"),
    ("[waymark]\n\n# remark\nx = 1", 4, "section [waymark] has no key 'x': see waymark.conf(5)"),
    ("[waymark]\nDefault = eth0", 2,
     "section [waymark] has no key 'Default': see waymark.conf(5)"),
    ("[waymark]\nassign = uid:1 eth0", 2,
     "section [waymark] has no key 'assign': see waymark.conf(5)"),
    ("[nope]", 1, "there is no section [nope]: use [waymark], [network NAME], [vpn NAME] or [assignments]"),
    ("[waymark x]", 1, "section [waymark] takes no name"),
    ("[assignments x]", 1, "section [assignments] takes no name"),
    ("[network]", 1, "a network's name has 1 to 64 characters"),
    ("[network " + "n" * 65 + "]", 1, "a network's name has 1 to 64 characters"),
    ("[network a b]", 1, "'a b' is no network name: use letters, digits and _ . : @ + -"),
    ("[network -a]", 1, "'-a' is no network name: use letters, digits and _ . : @ + -"),
    ("[network none]", 1, "'none' is a word with a meaning, not a network's name"),
    ("[network a", 1, "a section needs a ']' at its end: [network NAME]"),
    ("[", 1, "a section needs a ']' at its end: [network NAME]"),
    ("[network a] # remark", 1, "a section needs a ']' at its end: [network NAME]"),
    ("[]", 1, "the section has no name"),
    ("[ \t]", 1, "the section has no name"),
    ("[waymark]\nword", 2, "'word' is neither a [section] nor a key = value"),
    ("[waymark]\n= 1", 2, "there is no key before the '='"),
    ("[waymark]\ndefault =", 2, "a network's name has 1 to 64 characters"),
    ("[waymark]\ndefault = none", 2, "'none' is a word with a meaning, not a network's name"),
    ("[waymark]\ndefault = a b", 2,
     "'a b' is no network name: use letters, digits and _ . : @ + -"),
    ("[waymark]\nignore = eth0 " + "x" * 65, 2,
     "'" + "x" * 32 + "…' is longer than any interface's name"),
    ("[waymark]\nlog-level = loud", 2,
     "'loud' is no log level: use err, warning, notice, info or debug"),
    ("[network a]\nnetid = x", 2, "'x' is no netId: use a number from 100 to 65535"),
    ("[network a]\nnetid = 65536", 2, "'65536' is no netId: use a number from 100 to 65535"),
    ("[network a]\nnetid = -1", 2, "'-1' is no netId: use a number from 100 to 65535"),
    ("\n[network a]\nnetid = 51", 2,
     "netId 51 is out of range: a physical network's is 1 to 50 or 100 to 65535"),
    ("[network a]\nnetid = 0", 1,
     "netId 0 is out of range: a physical network's is 1 to 50 or 100 to 65535"),
    ("[network a]\ntype = vpn\nnetid = 99", 1,
     "netId 99 is out of range: a vpn network's is 100 to 65535"),
    ("[network a]\ntype = local\nnetid = 100", 1,
     "netId 100 is out of range: a local network's is 99"),
    ("[network a]\ntype = wifi", 2,
     "'wifi' is no type: use physical, vpn, local or unreachable"),
    ("[network a]\ninterface = eth0, abcdefghijklmnop", 2,
     "'abcdefghijklmnop' is no interface name (1 to 15 bytes)"),
    ("[network a]\ntype = unreachable\ninterface = eth0", 1,
     "network 'a' is of type unreachable: it has no interfaces"),
    ("[network a]\ndns = example.org", 2, "'example.org' is no address of a DNS server"),
    ("[network a]\ndns = 192.0.2.1:53", 2, "'192.0.2.1:53' is no address of a DNS server"),
    ("[network a]\ndns = 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5", 2, "more than 4 DNS servers"),
    ("[network a]\ndomain = a b c d e f g", 2, "more than 6 domains"),
    ("[network a]\ndomain = ex_ample..org", 2, "'ex_ample..org' is no domain name"),
    ("[network a]\npermission = root", 2,
     "'root' is no permission: use none, network or system"),
    ("[network a]\ntype = vpn\npermission = system", 1,
     "only a physical network can demand a permission, not a vpn"),
    ("[network a]\nroute = 192.0.2.1/24", 2,
     "'192.0.2.1/24' has bits set beyond its prefix length: give the prefix itself, such as "
     "10.1.0.0/16"),
    ("[network a]\nroute =", 2, "a route needs a destination"),
    ("[network a]\nroute = default via x", 2, "'x' is no gateway address"),
    ("[network a]\nroute = default via", 2,
     "'via' at the end of a route needs a value behind it"),
    ("[network a]\nroute = default via 10.0.0.1 dev a mtu 1400 extra word here", 2,
     "the route has too many words"),
    ("[network a]\nroute = 192.0.2.0/24 metric 3", 2,
     "'metric' is not part of a route: use DST [via GATEWAY|unreachable|throw] [dev INTERFACE] "
     "[mtu N]"),
    ("[network a]\nroute = 2001:db8::/32 via 10.0.0.1", 2,
     "destination and gateway are of different families"),
    ("[network a]\nroute = default mtu 67", 2, "'67' is no mtu: use a number from 68 to 65535"),
    ("[network a]\nroute = default\nroute = 0.0.0.0/0", 3, "the route stands here twice"),
    ("[network a]\nroute = default dev eth0", 1,
     "route: interface 'eth0' is not one of network 'a'"),
    ("[network a]\ninterface = a b\nroute = default", 1,
     "route: network 'a' has 2 interfaces: say which with dev IF"),
    ("[network a]\nsecure = perhaps", 2, "'perhaps' is neither yes nor no"),
    ("[network a]\nexclude-local =", 2, "'' is neither yes nor no"),
    ("[network a]\n[network b]\n[network a]", 3, "network 'a' stands already in {file}:1"),
    ("[network a]\nnetid = 150\n[network b]\nnetid = 150", 3, "netId 150 is that of network 'a'"),
    ("[network a]\ninterface = x\n[network b]\ninterface = y x", 3,
     "interface 'x' is in network 'a': `waymark network detach a x` first"),
    ("[vpn]", 1, "a network's name has 1 to 64 characters"),
    ("[vpn a b]", 1, "'a b' is no network name: use letters, digits and _ . : @ + -"),
    ("[vpn v]\nnetid = 100", 2, "section [vpn] has no key 'netid': see waymark.conf(5)"),
    ("[vpn v]\nlockdown = yes", 1,
     "VPN 'v': say `interface =` if somebody else makes its interface, `owner =` if its program asks "
     "us for one"),
    ("[vpn v]\nowner = uid:1\naddress = 10.0.0.1", 1,
     "VPN 'v' is a service: interface, addresses, routes and DNS are its program's to say"),
    ("[vpn v]\ninterface = wg0\nowner = uid:1", 1,
     "VPN 'v' is adopted: nobody establishes it, so it has no owner and no engine"),
    ("[vpn v]\ninterface = wg0\nlockdown = yes", 1,
     "VPN 'v': to hold apps while it is down takes to know whose: say which apps, everyone, or a "
     "user as its owner"),
    ("[vpn v]\ninterface = wg0\nfall-through = yes", 1,
     "VPN 'v': to fall through where it has no route takes routes: else everything did while its "
     "interface is away"),
    ("[vpn v]\ninterface = wg0\napps = uid:1\nexcept = uid:2", 1,
     "VPN 'v': say which apps, or which not, but not both"),
    ("[vpn v]\nowner = group:x", 1,
     "the owner of a VPN is a uid:N, a user:NAME or an exe:/PATH"),
    ("[vpn v]\ninterface = wg0\naddress = 127.0.0.1", 3,
     "'127.0.0.1' cannot be an address of the VPN: it is a loopback address"),
    ("[vpn v]\ninterface = wg0\nroute = 10.0.0.1/8", 3,
     "'10.0.0.1/8' has bits set beyond its prefix length: give the prefix itself, such as "
     "10.1.0.0/16"),
    ("[vpn v]\ninterface = wg0\nexclude = default", 3,
     "'default' is no destination: use ADDRESS/LENGTH, such as 0.0.0.0/0 or ::/0"),
    ("[vpn v]\ninterface = wg0\nlan = 0.0.0.0/0", 3, "'0.0.0.0/0' is everything, not the LAN"),
    ("[vpn v]\ninterface = wg0\neveryone = all", 3, "'all' is neither yes nor no"),
    ("[vpn v]\ninterface = wg0\n[vpn v]\ninterface = wg1", 3, "VPN 'v' stands already in {file}:1"),
    ("[network v]\n[vpn v]\ninterface = wg1", 2,
     "network 'v' stands already in {file}:1: a VPN has one of its name"),
    ("[vpn v]\ninterface = wg0\n[network x]\ninterface = wg0", 1,
     "interface 'wg0' is in 'x' already"),
    ("[vpn v]\ninterface = wg0\napps = uid:5\n[vpn w]\ninterface = wg1\neveryone = yes", 4,
     "VPN 'w' and VPN 'v' are to have the same apps"),
    ("[vpn v]\nowner = uid:1\n[waymark]\ndefault = v", 4,
     "the default network must be physical, 'v' is of type vpn"),
    ("[assignments]\nassign =", 2, "use: assign = SELECTOR NETWORK|none|default [require|prefer]"),
    ("[assignments]\nassign = uid:1", 2, "use: assign = SELECTOR NETWORK|none|default [require|prefer]"),
    ("[assignments]\nassign = uid:1 eth0 require now", 2,
     "use: assign = SELECTOR NETWORK|none|default [require|prefer]"),
    ("[assignments]\nassign = uid:1 eth0 require now and then", 2,
     "use: assign = SELECTOR NETWORK|none|default [require|prefer]"),
    ("[assignments]\nassign = uid:1 eth0 maybe", 2,
     "'maybe' is no strength: use require or prefer"),
    ("[assignments]\nassign = uid:1 none prefer", 2,
     "`none` blocks the app: it cannot be a preference"),
    ("[assignments]\nassign = uid:1 system", 2,
     "'system' is a word with a meaning, not a network's name"),
    ("[assignments]\nassign = 1000 eth0", 2,
     "'1000' is no selector: use uid:N, uid:N-M, user:NAME, group:NAME, cgroup:/PATH, unit:NAME "
     "or exe:/PATH"),
    ("[assignments]\nassign = uid:5-4 eth0", 2,
     "'uid:5-4' is no uid or range: use uid:N or uid:N-M with 0 <= N <= M <= 4294967294"),
    ("[assignments]\nassign = uid:4294967295 eth0", 2,
     "'uid:4294967295' is no uid or range: use uid:N or uid:N-M with 0 <= N <= M <= 4294967294"),
    ("[assignments]\nassign = uid:7 eth0\nassign = uid:7-7 none", 3,
     "this selector is assigned already, in {file}:2"),
    ("[waymark]\ndefault = a\x01b", 2, "the line has a control character (0x01)"),
    ("[waymark]\n\0\0\0", 2, "the line has a control character (0x00)"),
    ("\x7fELF\x02\x01\x01", 1, "the line has a control character (0x7f)"),
    ("[waymark]\nignore = \x1b[31mred", 2, "the line has a control character (0x1b)"),
    ("[waymark]\nignore = " + "x " * 2044, 2, "the line is longer than 4095 bytes"),
    ("#" * 100000, 1, "the line is longer than 4095 bytes"),
    ("[waymark]\n" + "\n" * 70000 + "x", 70002, "'x' is neither a [section] nor a key = value"),
    ("[network v]\ntype = vpn\n[waymark]\ndefault = v", 4,
     "the default network must be physical, 'v' is of type vpn"),
]
ERROR_IDS = [f"{i}-{e[2][:50]}" for i, e in enumerate(ERRORS)]


@pytest.mark.parametrize("text,line,message", ERRORS, ids=ERROR_IDS)
def test_an_error_is_named_by_a_reload_and_nothing_changes(strict, text, line, message):
    machine, daemon, before = strict
    configure(daemon, text)
    result = daemon("reload")
    said = f"{daemon.config}:{line}: {message}".replace("{file}", str(daemon.config))
    assert (result.code, result.err) == (4, f"waymark: {said}\n")
    assert state_of(machine, daemon) == before


@pytest.mark.parametrize("text,line,message", ERRORS, ids=ERROR_IDS)
def test_an_error_at_start_ends_the_daemon_with_a_message(hermit, text, line, message):
    daemon = Instance(hermit)
    try:
        configure(daemon, text)
        daemon.spawn()
        assert daemon.process.wait(timeout=WAIT) == 1
        said = f"{daemon.config}:{line}: {message}".replace("{file}", str(daemon.config))
        assert said in daemon.log.splitlines()
        assert our_rules(hermit) == []
        daemon.process = None
    finally:
        daemon.close()


@pytest.mark.parametrize("first,second", [(2, 5), (5, 2)])
def test_what_stands_twice_is_named_in_the_later_file(clean, first, second):
    _, daemon = clean
    folder = drop_ins(daemon)

    def twice(what):
        configure(daemon, "", b="[assignments]" + "\n" * (second - 1) + what,
                  a="[assignments]" + "\n" * (first - 1) + what)
        return daemon("reload").err

    assert twice("[network n]\n") \
        == f"waymark: {folder}/b.conf:{second}: network 'n' stands already in " \
           f"{folder}/a.conf:{first}\n"
    assert twice("assign = uid:7 eth0\n") \
        == f"waymark: {folder}/b.conf:{second}: this selector is assigned already, in " \
           f"{folder}/a.conf:{first}\n"


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_huge(path):
    with open(path, "wb") as file:
        file.truncate(65 << 20)


UNREADABLE = {
    "too large": (make_huge, "File too large"),
    "a folder": (make_folder, "Is a directory"),
    "no permission": (lambda path: path.chmod(0), "Permission denied"),
    "a symlink that leads in circles": (lambda path: (path.unlink(), path.symlink_to(path.name)),
                                        "Too many levels of symbolic links"),
}
NO_OVERRIDE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.parametrize("drop_in", [False, True])
@pytest.mark.parametrize("spoil,why", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read(hermit, spoil, why, drop_in):
    daemon = Instance(hermit, wrap=NO_OVERRIDE)
    path = drop_ins(daemon) / "x.conf" if drop_in else daemon.config
    path.write_text("[waymark]\nlog-level = debug\n")
    try:
        daemon.start()
        spoil(path)
        result = daemon("reload")
        assert result.code == 4 and result.err == f"waymark: cannot read {path}: {why}\n"
        assert daemon.answers()
        daemon.stop()
        daemon.spawn()
        assert daemon.process.wait(timeout=WAIT) == 1
        assert f"cannot read {path}: {why}" in daemon.log.splitlines()
        daemon.process = None
    finally:
        daemon.close()
