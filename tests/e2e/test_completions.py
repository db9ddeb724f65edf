# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the shells themselves offer behind `waymark vpn …` and `waymark-minivtun …`: bash by its function, fish
by `complete -C`, zsh at a terminal, as somebody who presses the tabulator. (The words of all of `waymark`:
test_cli_words.py.)"""

import os
import re
import subprocess

import pytest

from harness import ROOT, WAYMARK

COMPLETIONS = ROOT / "completions"
MINIVTUN = os.path.join(os.path.dirname(WAYMARK), "waymark-minivtun")
VERBS = {"list", "show", "add", "adopt", "import", "set", "remove", "up", "down", "consent"}
VPNS = {"home", "work"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a `waymark` is whose VPNs are known, and a file of wg-quick."""
    folder = tmp_path_factory.mktemp("completions")
    program = folder / "waymark"
    program.write_text("#!/bin/sh\necho 'NETID  NAME  TYPE'\necho '100    home  vpn'\n"
                       "echo '101    work  vpn'\n")
    program.chmod(0o755)
    (folder / "wg0.conf").touch()
    (folder / "key").touch()
    return folder


def run(folder, *command, **options):
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=folder,
                          timeout=60, **options)


def bash(folder, line):
    program, *words = line.split(" ")
    function = "_" + program.replace("-", "_")
    script = ('source "$0"; f=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $f; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = run(folder, "bash", "--norc", "-c", script, str(COMPLETIONS / f"{program}.bash"), function,
               program, *words)
    assert done.stderr == ""
    return set(done.stdout.split())


def fish(folder, line):
    script = "source $argv[1]; complete -C $argv[2]"
    done = run(folder, "fish", "--no-config", "-c", script,
               str(COMPLETIONS / f"{line.split(' ')[0]}.fish"), line)
    assert done.stderr == ""
    found = {found.split("\t")[0] for found in done.stdout.splitlines()}
    return {word for word in found if not word.endswith("=")}  # the same option, with a value to come


# A zsh at a terminal of its own, where what is written is followed by a tabulator. What it then offers, it
# notes; calls that only look what would match (-O, -A, -D) do not count.
ZSH = r"""
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT= RPROMPT=; unsetopt prompt_cr zle_bracketed_paste 2>/dev/null"
zpty -w z "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w z "compadd() {
    if ! (( \$@[(I)-O] || \$@[(I)-A] || \$@[(I)-D] )); then
        builtin compadd -O found \"\$@\"
        print -rl -- '' \"=\${^found[@]}\" >>$2
    fi
    builtin compadd \"\$@\"
}"
zpty -w z "tab() { zle complete-word; print done >>$2 }; zle -N tab; bindkey '^I' tab"
zpty -w z "LISTMAX=100000; zle-line-init() { print ready >>$2 }; zle -N zle-line-init"
while [[ ! -e $2 ]] { zpty -r -t z >/dev/null; sleep 0.02 }
zpty -n -w z "$3"$'\t'
for (( i = 0; i < 2000; i++ )) {
    while zpty -r -t z >/dev/null; do :; done
    [[ $(<$2) == *done* ]] && break
    sleep 0.02
}
zpty -d z
"""


def zsh(folder, line):
    output = folder / "zsh.out"
    output.unlink(missing_ok=True)
    run(folder, "zsh", "-f", "-c", ZSH, "zsh", str(COMPLETIONS), str(output), line)
    text = output.read_text()
    assert "done" in text, text
    return {found[1:] for found in text.splitlines() if found.startswith("=") and found != "="}


SHELLS = pytest.mark.parametrize("complete", [bash, fish, zsh], ids=lambda f: f.__name__)


@SHELLS
@pytest.mark.parametrize("line, offered", [
    ("waymark vpn ", VERBS),
    ("waymark help vpn ", VERBS),
    ("waymark vpn show ", VPNS),
    ("waymark vpn up w", {"work"}),
    ("waymark vpn down --json ", VPNS),
    ("waymark vpn set --lockdown yes ", VPNS),
    ("waymark vpn set work --lan ", {"none", "link-local"}),
    ("waymark vpn add x --lockdown y", {"yes"}),
    ("waymark-minivtun --type a", {"aes-128", "aes-256"}),
    ("waymark-minivtun -t d", {"des", "desx"}),
    ("waymark-minivtun -r x:1 --log-level ", {"err", "warning", "notice", "info", "debug"}),
    ("waymark-minivtun --no-", {"--no-offload", "--no-batch", "--no-sandbox"}),
])
def test_these_and_no_others(folder, complete, line, offered):
    assert complete(folder, line) == offered


@SHELLS
@pytest.mark.parametrize("line, one", [
    ("waymark vpn adopt ", "lo"), ("waymark vpn consent ro", "root"), ("waymark vpn import w", "wg0.conf"),
    ("waymark vpn import x --interface ", "lo"), ("waymark-minivtun -n ", "lo"),
    ("waymark-minivtun --user ro", "root"), ("waymark-minivtun --key-file ", "key"),
    ("waymark-minivtun -p ", "key")])
def test_among_others(folder, complete, line, one):
    assert one in complete(folder, line)


def options_of(verb):
    text = run(os.path.dirname(WAYMARK), WAYMARK, "vpn", verb, "--help").stdout
    return set(re.findall(r"^  (--[\w-]+)", text, re.MULTILINE))


@SHELLS
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_options_of_a_verb(folder, complete, verb):
    assert complete(folder, f"waymark vpn {verb} --") == options_of(verb)


@pytest.fixture(scope="module")
def minivtun_options():
    text = run(os.path.dirname(MINIVTUN), MINIVTUN, "--help").stdout
    return set(re.findall(r"^ +(?:-\w, +)?(--[a-z][\w-]*)", text, re.MULTILINE))


@SHELLS
def test_options_of_minivtun(folder, complete, minivtun_options):
    assert len(minivtun_options) == 33
    assert complete(folder, "waymark-minivtun --") == minivtun_options


@pytest.mark.parametrize("file, shell", [("waymark-minivtun.bash", "bash"), ("_waymark-minivtun", "zsh"),
                                         ("waymark-minivtun.fish", "fish")])
def test_they_are_valid_scripts(file, shell):
    subprocess.run([shell, "-n", str(COMPLETIONS / file)], check=True)
