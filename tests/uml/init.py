# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first process of the guest that uml.py boots: makes a machine of a bare kernel, runs one
command, powers off.

Everything that is written goes to memory (/run), for the root is the host's, read-only: only the
folder that is shared with the host (argument) can be written to. There lies `task`, what to do;
there come `output` and, last, `code`. Nothing is mounted over /tmp: the programs under test may have
been built there.
"""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import traceback

SHARE = "/run/share"
TEMPORARY = "/run/tmp"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MODULES = pathlib.Path("/usr/lib/uml/modules") / os.uname().release
RB_POWER_OFF = 0x4321FEDC

libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


def mount(kind, target, options=""):
    os.makedirs(target, exist_ok=True)
    checked(libc.mount(b"none", target.encode(), kind.encode(), 0, options.encode()), target)


def insert_modules(names):
    """As modprobe does, which needs not be installed here: those they need, first."""
    needs = {}
    for line in (MODULES / "modules.dep").read_text(encoding="utf-8").splitlines():
        path, _, rest = line.partition(":")
        needs[pathlib.Path(path).stem] = [path, *rest.split()]
    present = {line.split()[0] for line in open("/proc/modules", encoding="utf-8")}
    for name in names:
        for path in reversed(needs[name]):
            module = pathlib.Path(path).stem
            if module.replace("-", "_") in present:
                continue
            with open(MODULES / path, "rb") as file:
                checked(libc.syscall(313, file.fileno(), b"", 0), module)  # finit_module
            present.add(module.replace("-", "_"))


def run(share):
    mount("proc", "/proc")
    mount("sysfs", "/sys")
    mount("tmpfs", "/run", "mode=755")
    mount("tmpfs", TEMPORARY, "mode=1777")
    mount("tmpfs", "/dev/shm", "mode=1777")
    mount("cgroup2", "/sys/fs/cgroup")
    mount("bpf", "/sys/fs/bpf")
    mount("hostfs", SHARE, share)
    os.symlink("/proc/self/fd", "/dev/fd")
    checked(libc.sethostname(b"uml", 3), "sethostname")
    with open(f"{SHARE}/task", encoding="utf-8") as file:
        task = json.load(file)
    insert_modules(task["modules"])
    os.environ |= {"PATH": PATH, "TMPDIR": TEMPORARY} | task["env"]
    os.environ.pop("TERM", None)
    with open(f"{SHARE}/output", "ab") as output:
        code = subprocess.run(task["command"], stdin=subprocess.DEVNULL, stdout=output,
                              stderr=output, cwd=task["cwd"], check=False).returncode
    with open(f"{SHARE}/code", "w", encoding="utf-8") as file:
        file.write(str(code))


def main():
    try:
        if sys.argv[1:2] == ["--insert"]:  # by a command, later
            insert_modules(sys.argv[2:])
            return
        run(sys.argv[1])
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()  # on the console
    if os.getpid() == 1:
        os.sync()
        libc.reboot(RB_POWER_OFF)


main()
