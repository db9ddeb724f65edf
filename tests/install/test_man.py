# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages say all that the programs know, and nothing else."""

import os
import re
import subprocess

import pytest

from harness import ROOT, WAYMARK, WAYMARKD, Instance, Namespace
from keystore_fixture import KEYSTORED
from minivtun_fixture import MINIVTUN

MAN = ROOT / "man"
PAGES = sorted(path.name for path in MAN.glob("*.scd"))


def page(name):
    return (MAN / name).read_text(encoding="utf-8")


def source(name):
    return (ROOT / "src" / name).read_text(encoding="utf-8")


def known_keys():
    """(section, key) of the daemon's table."""
    table = re.search(r"\} keys\[\] = \{(.*?)\n\};", source("daemon/config-keys.c"), re.S)[1]
    vpn = re.search(r"\} keys\[\] = \{(.*?)\n\};", source("daemon/config-vpn.c"), re.S)[1]
    return set(re.findall(r'\{ "([a-z-]+)", "([a-z-]+)",', table)) | \
        {("vpn", key) for key in re.findall(r'\{ "([a-z-]+)",', vpn)}


def sections():
    """The page's sections of keys: (section, text)."""
    parts = re.split(r"^# \[([a-z]+)[^\n]*\]\n", page("waymark.conf.5.scd"), flags=re.M)[1:]
    return [(name, text.split("\n# ")[0]) for name, text in zip(parts[::2], parts[1::2])]


def entries():
    """(section, key, text) of the page."""
    for section, text in sections():
        parts = re.split(r"^\*([a-z-]+)\* = ", text, flags=re.M)[1:]
        yield from ((section, key, body) for key, body in zip(parts[::2], parts[1::2]))


def plain(text):
    return re.sub(r"\\(.)", r"\1", " ".join(text.split()))


def examples():
    for section, key, text in entries():
        for line in re.findall(r"\*(" + key + r" = [^;]*?)\*[;.]", plain(text)):
            yield section, line


def long_options(text):
    return set(re.findall(r"^  (?:-\w, |    )?--([a-z0-9-]+)", text, re.M))


def test_every_key_has_its_entry():
    assert {(section, key) for section, key, _ in entries()} == known_keys()
    assert len(known_keys()) > 10


@pytest.mark.parametrize("section, key, text", list(entries()))
def test_an_entry_has_default_example_and_error(section, key, text):
    text = plain(text)
    assert re.search(r"Examples?: \*" + key + " = ", text), (section, key)
    assert re.search(r"Errors?: _", text), (section, key)
    assert re.search(r"default|None", text) or key == "route", (section, key)


# What has to stand beside the example, where anything has.
ADOPTED = "[vpn work]\ninterface = wg0\n"
BESIDE = {
    "network": "[network office]\ninterface = eth1, eth2\n",
    "network exclude-local": "[network office]\ninterface = eth1, eth2\ntype = vpn\n",
    "network fall-through": "[network office]\ninterface = wg0\ntype = vpn\n",
    "network lockdown": "[network office]\ninterface = wg0\ntype = vpn\n",
    "network outside": "[network office]\ninterface = wg0\ntype = vpn\n",
    "vpn": ADOPTED,
    "vpn interface": "[vpn work]\n",
    "vpn owner": "[vpn work]\n",
    "vpn engine": "[vpn work]\nowner = uid:1000\n",
    "vpn forward": "[vpn work]\nowner = uid:1000\n",
    "vpn except": ADOPTED + "everyone = yes\n",
    "vpn lockdown": ADOPTED + "apps = uid:1000\n",
    "vpn always-on": ADOPTED + "apps = uid:1000\n",
    "vpn fall-through": ADOPTED + "route = 10.0.0.0/8\n",
}


@pytest.mark.parametrize("section, line", list(examples()))
def test_the_daemon_takes_the_examples(section, line):
    key = f"{section} {line.split()[0]}"
    check_configuration(BESIDE.get(key, BESIDE.get(section, f"[{section}]\n")) + line + "\n")


def uncommented(text):
    """The example file with everything taken into use."""
    return re.sub(r"^#(?=\[|[a-z0-9-]+ = )", "", text, flags=re.M)


def test_the_daemon_takes_the_example_file():
    text = (ROOT / "data/waymark.conf").read_text(encoding="utf-8")
    assert all(line.startswith("#") or not line for line in text.splitlines())
    check_configuration(text)
    used = uncommented(text)
    pairs = {(section.split()[0], key)
             for section, body in re.findall(r"^\[([^]]+)\]\n(.*?)(?=^\[|\Z)", used, re.M | re.S)
             for key in re.findall(r"^([a-z-]+) = ", body, re.M)}
    assert pairs == known_keys()
    check_configuration(used)


def check_configuration(text):
    namespace = Namespace()
    daemon = Instance(namespace, config=text)
    try:
        daemon.start()
    finally:
        daemon.close()
        namespace.close()


def test_every_command_is_in_the_page():
    table = source("cli/commands.c")
    commands = {" ".join(filter(None, pair)) for pair in
                re.findall(r'\.noun = "([a-z-]+)"(?:, \.verb = "([a-z-]+)")?', table)}
    text = page("waymark.1.scd")
    synopsis = text.split("# SYNOPSIS")[1].split("# DESCRIPTION")[0]
    described = text.split("# COMMANDS")[1].split("# SELECTORS")[0]
    listed = {" ".join(words.replace("*", "").split()) for words in
              re.findall(r"^\*waymark\* \[?((?:\*[a-z -]+\* ?)+)", synopsis, re.M)}
    assert listed == commands
    headings = " ".join(re.findall(r"^\*.*$", described, re.M))
    assert {c for c in commands if f"*{c}*" not in headings} == set()


@pytest.mark.parametrize("program, name", [(WAYMARK, "waymark.1.scd"), (WAYMARKD, "waymarkd.8.scd"),
                                           (MINIVTUN, "waymark-minivtun.8.scd"),
                                           (KEYSTORED, "waymark-keystored.8.scd")])
def test_every_option_is_in_the_page(program, name):
    out = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    options = long_options(out)
    if name == "waymark.1.scd":
        options |= set(re.findall(r'= \{ "([a-z-]+)", ', source("cli/options.c"))) - {"words"}
    assert len(options) >= 6
    assert options == set(re.findall(r"\*--([a-z0-9-]+)\*", page(name)))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_rendered_without_a_warning(name, tmp_path):
    roff = tmp_path / name.removesuffix(".scd")
    with open(MAN / name, "rb") as scd, open(roff, "wb") as out:
        subprocess.run(["scdoc"], stdin=scd, stdout=out, check=True)
    done = subprocess.run(["man", "--warnings", "-l", str(roff)], capture_output=True, text=True,
                          env=os.environ | {"MANWIDTH": "80", "LC_ALL": "C.UTF-8"}, check=True)
    assert done.stderr == ""
    assert "NAME" in done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_what_pages_refer_to_exists(name):
    ours = {tuple(path.removesuffix(".scd").rsplit(".", 1)) for path in PAGES}
    for other, section in re.findall(r"\*(waymark[a-z.]*)\*\((\d)\)", page(name)):
        assert (other, section) in ours


def test_the_keystore_takes_the_example_file(tmp_path):
    """All that it may be told stands there, and in the page."""
    text = (ROOT / "data/keystore.conf").read_text(encoding="utf-8")
    assert all(line.startswith("#") or not line for line in text.splitlines())
    keys = set(re.findall(r'^    \{ 0, (?:NULL|"[a-z0-9-]+"), "([a-z0-9-]+)",', source("keystore/options.c"), re.M))
    used = uncommented(text)
    assert set(re.findall(r"^([a-z0-9-]+) = ", used, re.M)) == keys and len(keys) > 10
    described = page("waymark-keystored.8.scd").split("# CONFIGURATION")[1].split("# UNATTENDED")[0]
    assert keys <= set(re.findall(r"\*([a-z0-9-]+)\*", described))
    file = tmp_path / "keystore.conf"
    file.write_text(used.replace("log-level = info", "log-level = nonsense"), encoding="utf-8")
    done = subprocess.run([KEYSTORED, "--config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "'nonsense' is no log level" in done.stderr, "the last of them"
