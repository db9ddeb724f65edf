# SPDX-License-Identifier: LGPL-2.1-or-later
"""The words of waymark(1) stand in one table. Here the help, the man page and the completions are
compared with it. Needs no daemon."""

import os
import re
import subprocess

import pytest

from harness import ROOT, WAYMARK

MAN = (ROOT / "man/waymark.1.scd").read_text()
COMPLETIONS = ROOT / "completions"
SHELLS = ["waymark.bash", "_waymark", "waymark.fish"]


def waymark(*args):
    env = {"PATH": os.environ["PATH"], "WAYMARK_RUNTIME_DIR": "/nonexistent"}
    result = subprocess.run([WAYMARK, *args], capture_output=True, text=True, check=True, env=env)
    return result.stdout


def read_table():
    commands, options, selectors = {}, {}, []
    for line in waymark("help", "--words").splitlines():
        kind, *fields = line.split("\t")
        if kind == "command":
            commands[fields[0]] = {"args": fields[1], "options": fields[2].split()}
        elif kind == "option":
            choices = [c for c in fields[2].split("|") if c]
            options[fields[0]] = {"value": fields[1], "choices": choices,
                                  "global": fields[3] == "global"}
        else:
            selectors.append(fields[0])
    return commands, options, selectors


COMMANDS, OPTIONS, SELECTORS = read_table()
GLOBAL = {name for name, option in OPTIONS.items() if option["global"]}
WORDS = {word for command in COMMANDS for word in command.split()}


def test_the_table():
    assert len(COMMANDS) == 45
    assert len(OPTIONS) == 47 and len(GLOBAL) == 6
    assert SELECTORS == ["uid:", "user:", "group:", "cgroup:", "unit:", "exe:"]
    used = {o for command in COMMANDS.values() for o in command["options"]}
    assert used | GLOBAL == set(OPTIONS)


def section(title):
    pattern = rf"^# {title}$\n(.*?)^# [A-Z ]+$"
    return re.search(pattern, MAN + "\n# END", re.MULTILINE | re.DOTALL)[1]


def plain(text):
    """Without scdoc's marks."""
    return re.sub(r"[*_]|\+\+$", "", text)


def test_help_of_every_command_is_the_synopsis_of_the_man_page():
    synopsis = [plain(line) for line in section("SYNOPSIS").strip().splitlines()]
    assert synopsis[0] == "waymark [status]"
    synopsis[0] = "waymark status"
    usages = [waymark(*command.split(), "--help").splitlines()[0] for command in COMMANDS]
    assert usages == ["Usage: " + line for line in synopsis]
    assert usages == [waymark("help", *command.split()).splitlines()[0] for command in COMMANDS]


def test_help_lists_the_options_of_each_command():
    for command, row in COMMANDS.items():
        text = waymark(*command.split(), "--help")
        assert set(re.findall(r"^  (--[\w-]+)", text, re.MULTILINE)) == set(row["options"]) | GLOBAL


def test_help_lists_the_commands():
    listed = re.findall(r"^  ([a-z][a-z-]*(?: [a-z]+)?)  ", waymark("--help"), re.MULTILINE)
    assert listed == list(COMMANDS)
    assert set(re.findall(r"^  ([a-z]+ [a-z]+)  ", waymark("help", "net"), re.MULTILINE)) == {
        c for c in COMMANDS if c.startswith("network ")}


def test_the_man_page_describes_everything():
    described = plain(section("OPTIONS") + section("COMMANDS"))
    for command in COMMANDS:
        assert re.search(rf"^(.*, )?{command}\b", described, re.MULTILINE), command
    for option, row in OPTIONS.items():
        heading = f"{option} {row['value']}".strip()
        assert re.search(rf"^\t*(.*, )?{re.escape(heading)}(,|$)", described, re.MULTILINE), heading
        for choice in row["choices"]:
            assert re.search(rf"\b{choice}\b", described), choice
    for selector in SELECTORS:
        assert selector in plain(section("SELECTORS"))


def test_the_man_page_can_be_built():
    page = subprocess.run(["scdoc"], input=MAN, capture_output=True, text=True, check=True).stdout
    assert ".TH" in page


def test_the_man_page_lists_the_exit_codes():
    header = (ROOT / "src/cli/cli.h").read_text()
    codes = re.findall(r"^    EXIT_\w+ = (\d+)", header, re.MULTILINE)
    listed = re.findall(r"^\|\S* +\*(\d+)\*", section("EXIT CODES"), re.MULTILINE)
    assert listed == codes


def test_examples_are_commands_of_the_table():
    examples = re.findall(r"\*(waymark(?: [^*|]*)?)", section("EXAMPLES"))
    assert len(examples) >= 12
    for example in examples:
        words = [w for w in example.split()[1:] if not w.startswith("-")]
        assert not words or any(" ".join(words).startswith(c) for c in COMMANDS), example


# Completions.

@pytest.mark.parametrize("shell", SHELLS)
def test_completions_have_the_words_of_the_table(shell):
    text = (COMPLETIONS / shell).read_text()
    bare = set(re.findall(r"[a-z][a-z-]*", text))
    assert WORDS - bare == set()
    assert {c for o in OPTIONS.values() for c in o["choices"]} - bare == set()
    assert {"none", "system", "default"} - bare == set()
    assert {"via", "unreachable", "throw", "dev", "mtu"} - bare == set()
    for selector in SELECTORS:
        assert re.search(rf"\b{selector[:-1]}\\*:", text), selector


@pytest.mark.parametrize("shell, pattern", [
    ("waymark.bash", r"(?<![\w-])--[a-z][a-z-]*"),
    ("_waymark", r"(?<=['\"*)])--[a-z][a-z-]*(?=\[)"),
    ("waymark.fish", r"(?<= -l )[a-z][a-z-]*"),
])
def test_completions_have_the_options_of_the_table(shell, pattern):
    text = re.sub(r"^#.*", "", (COMPLETIONS / shell).read_text(), flags=re.MULTILINE)
    found = {"--" + option.lstrip("-") for option in re.findall(pattern, text, re.MULTILINE)}
    assert found == set(OPTIONS)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A `waymark` whose networks are known."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "waymark"
    program.write_text("#!/bin/sh\n"
                       'echo "$*" >>"$0.log"\n'
                       'case "$*" in *keystore*) printf "%s\\n" psk USRPKEY_work "odd\\x0a"; exit;; esac\n'
                       "echo 'NETID  NAME    TYPE'\n"
                       "echo '100    eth0    physical'\n"
                       "echo '101    office  physical'\n")
    program.chmod(0o755)
    return program


def complete(stand_in, *words):
    """What bash offers for the last word."""
    script = ('source "$0"; COMP_WORDS=(waymark "$@"); COMP_CWORD=$#; _waymark; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    env = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", script, str(COMPLETIONS / "waymark.bash"), *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert result.stderr == ""
    return set(result.stdout.split())


def test_bash_completes_commands(stand_in):
    first = {command.split()[0] for command in COMMANDS}
    assert complete(stand_in, "") == first
    assert complete(stand_in, "help", "") == first
    assert complete(stand_in, "--json", "--timeout", "3", "a") == {"apps", "assign", "assignments"}
    for noun in ("network", "route", "vpn", "keystore"):
        verbs = {c.split()[1] for c in COMMANDS if c.startswith(noun + " ")}
        assert complete(stand_in, noun, "") == complete(stand_in, "help", noun, "") == verbs
    for command in ("status", "verify", "help help", "network list", "network add x"):
        assert complete(stand_in, *command.split(), "") == set()


def test_bash_completes_options(stand_in):
    for command, row in COMMANDS.items():
        if command != "help":
            expected = set(row["options"]) | GLOBAL
            assert complete(stand_in, *command.split(), "--") == expected, command
    for option, row in OPTIONS.items():
        if row["choices"]:
            assert complete(stand_in, option, "") == set(row["choices"])
        elif not row["value"]:
            assert complete(stand_in, option, "") == {c.split()[0] for c in COMMANDS}
    assert "root" in complete(stand_in, "explain", "--user", "")
    assert "lo" in complete(stand_in, "explain", "--dev", "")


def test_bash_completes_networks_and_selectors(stand_in):
    networks = {"eth0", "office"}
    for command, row in COMMANDS.items():
        if row["args"].startswith("NAME") and command not in (
                "network add", "vpn add", "run"):
            assert complete(stand_in, *command.split(), "") == networks, command
    assert complete(stand_in, "default", "") == networks | {"system"}
    assert complete(stand_in, "assign", "") == set(SELECTORS)
    assert complete(stand_in, "unassign", "u") == {"uid:", "user:", "unit:"}
    assert complete(stand_in, "assign", "uid:5", "") == networks | {"none", "default"}
    assert complete(stand_in, "network", "show", "o") == {"office"}
    assert complete(stand_in, "run", "") == networks | {"none"}
    assert "true" in complete(stand_in, "run", "--scope", "auto", "none", "tru")
    assert complete(stand_in, "route", "add", "eth0", "default", "") == {
        "via", "unreachable", "throw", "dev", "mtu"}
    complete(stand_in, "--runtime-dir", "/tmp/x", "default", "")
    asked = stand_in.with_name("waymark.log").read_text().splitlines()
    assert asked[-1] == "--runtime-dir /tmp/x --timeout 1 network list"
    complete(stand_in, "vpn", "up", "")
    asked = stand_in.with_name("waymark.log").read_text().splitlines()
    assert asked[-1] == "--timeout 1 vpn list"


def test_bash_completes_vpns(stand_in, tmp_path, monkeypatch):
    (tmp_path / "wg0.conf").touch()
    (tmp_path / "key").touch()
    (tmp_path / "more").mkdir()
    monkeypatch.chdir(tmp_path)
    assert complete(stand_in, "vpn", "import", "") == {"wg0.conf", "more"}
    assert complete(stand_in, "vpn", "import", "w") == {"wg0.conf"}
    assert "lo" in complete(stand_in, "vpn", "adopt", "")
    assert "root" in complete(stand_in, "vpn", "consent", "")
    assert complete(stand_in, "vpn", "set", "--apps", "") == set(SELECTORS)
    # an option that may stand alone
    assert complete(stand_in, "vpn", "set", "--lockdown", "y") == {"yes"}
    assert complete(stand_in, "vpn", "set", "--lockdown", "e") == {"eth0"}
    assert complete(stand_in, "vpn", "set", "--lockdown", "yes", "") == {"eth0", "office"}
    assert complete(stand_in, "vpn", "set", "--lockdown", "eth0", "") == set()


def test_bash_completes_the_keystore(stand_in, tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert complete(stand_in, "keystore", "import", "") == {"old"}
    assert "root" in complete(stand_in, "keystore", "grant", "key", "")
    assert "root" in complete(stand_in, "keystore", "ungrant", "key", "r")
    assert "root" in complete(stand_in, "keystore", "list", "--as", "")
    stand_in.with_name("waymark.log").write_text("")
    for verb in ("get", "put", "rm", "list", "grant", "ungrant"):
        assert complete(stand_in, "--runtime-dir", "/r", "keystore", verb, "--as", "root", "") == {
            "psk", "USRPKEY_work"}
    assert complete(stand_in, "keystore", "get", "p") == {"psk"}
    assert complete(stand_in, "keystore", "get", "psk", "") == set()
    asked = stand_in.with_name("waymark.log").read_text().splitlines()
    assert asked[0] == "--runtime-dir /r --as root --timeout 1 keystore list"


@pytest.mark.parametrize("shell, program", [("waymark.bash", "bash"), ("_waymark", "zsh"),
                                            ("waymark.fish", "fish")])
def test_completions_are_valid_scripts(shell, program):
    subprocess.run([program, "-n", str(COMPLETIONS / shell)], check=True)
