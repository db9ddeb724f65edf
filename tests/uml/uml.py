# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a command on the oldest kernel that is supported, one that lacks things: Linux 6.1 as a
process (Debian's package user-mode-linux), with this machine's files and none of its network.

    python3 tests/uml/uml.py COMMAND…      its output and exit code

What that kernel has and lacks, for us (test_uml.py holds this list):

    policy rules     both families, with uid ranges, fwmark, oif, protocol: all that we use
    veth, dummy      modules. Network namespaces as ever, with cookies (SO_NETNS_COOKIE)
    IPv6             a module: nothing of it is there before
    TUN              a module
    sysctls          fwmark_reflect (both), tcp_fwmark_accept: there
    ping sockets     there, both families; ping_group_range is empty at first, as everywhere
    IPv4-mapped      TCP and UDP. Ping sockets answer EINVAL (ping_v6_sendmsg() has no IPv4 side), raw
                     ones send an IPv6 packet to ::ffff:a.b.c.d: that is so on every Linux
    nftables         without the module nf_tables: EPROTONOSUPPORT for its netlink. With it: tables of
                     the family `bridge` alone (no NF_TABLES_INET, _IPV4, _IPV6). So no guard
    SOCK_DIAG        lists TCP; UDP and raw by modules. SOCK_DESTROY: EOPNOTSUPP (no
                     INET_DIAG_DESTROY). So old connections hang
    BPF at cgroups   there: sock_create, connect, sendmsg, ingress, egress can be loaded, linked and
                     pinned; cgroup2 and bpffs can be mounted. Interpreted, there is no JIT
    BTF              missing, and with it CO-RE and the maps back-end
    SELinux          there, without a policy: it forbids nothing
    processors       one; x86-64 only

Each system call, page fault and switch of a guest process is a ptrace() stop, and a fork takes a tenth
of a second: so what runs there forks little, and all of it is held on one of our processors, where
one hands over to the other at once. xstate.c is why it boots at all on newer processors.

The processes of a guest are processes here. They live in a PID namespace, for were the guest's
kernel killed alone, they would go on as they are: untraced, with this machine's system calls. They
have a network namespace and a mount namespace of their own, too.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

KERNEL = "/usr/bin/linux.uml"
HERE = pathlib.Path(__file__).resolve().parent
WAYMARKD = os.environ.get("WAYMARKD", str(HERE.parents[1] / "build/src/waymarkd"))
BUILD = pathlib.Path(WAYMARKD).resolve().parents[1]
XSTATE = BUILD / "tests/uml-xstate.so"
MODULES = ("ipv6", "veth", "dummy", "tun")  # that a machine has; nf_tables is added by who wants it


def stay_on_one_processor():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def kernel_command(share):
    return [
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "sh", "-c", '"$@"; exit $?', "sh",
        KERNEL, "mem=256M", "quiet", "ro", "root=/dev/root", "rootfstype=hostfs", "rootflags=/",
        f"uml_dir={share}", "con0=null,fd:1", "con=null", "ssl=null",
        "init=/usr/bin/python3", "--", str(HERE / "init.py"), share,
    ]


def boot(share, seconds):
    """What the console said, when it is over."""
    kernel = subprocess.Popen(
        kernel_command(share), env=os.environ | {"LD_PRELOAD": str(XSTATE)},
        preexec_fn=stay_on_one_processor, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        return kernel.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        kernel.kill()
        return f"not done after {seconds} s\n{kernel.communicate()[0]}"
    finally:
        kernel.kill()
        kernel.wait()


def run(command, env=None, seconds=300, modules=MODULES):
    """(exit code, output) of a command, there; None: it did not end, and the console tells why."""
    with tempfile.TemporaryDirectory(prefix="waymark-uml-") as folder:
        share = pathlib.Path(folder)
        (share / "task").write_text(json.dumps({"command": command, "modules": modules,
                                                "env": env or {}, "cwd": os.getcwd()}))
        console = boot(folder, seconds)
        output = share / "output"
        text = output.read_text(errors="replace") if output.exists() else ""
        if not (share / "code").exists():
            return None, f"{text}\n{console}"
        return int((share / "code").read_text()), text


def main():
    if len(sys.argv) < 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    code, output = run(sys.argv[1:])
    print(output, end="")
    return 1 if code is None else code


if __name__ == "__main__":
    sys.exit(main())
