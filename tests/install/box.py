# SPDX-License-Identifier: LGPL-2.1-or-later
"""A box: this very Debian, booted by systemd in a container, in a network namespace of the tests.

What it writes goes to an overlay in memory and is gone with it. It can be halted and booted again.
"""

import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile

from harness import ROOT, WAYMARKD, Result, cgroup2, wait_for

BUILD = pathlib.Path(os.environ.get("BUILD", pathlib.Path(WAYMARKD).parents[1])).resolve()
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNIT = "/usr/local/lib/systemd/system/waymark.service"

# The overlay, in a mount namespace of its own, as is what systemd-nspawn leaves in /run. What this
# machine starts at boot, or has of waymark, is not there. `ready` is the sign that all is done.
PREPARE = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=755 tmpfs {dir}
mkdir {dir}/upper {dir}/work {dir}/root {dir}/bpf
mount -t overlay overlay -o lowerdir=/,upperdir={dir}/upper,workdir={dir}/work {dir}/root
cd {dir}/root
rm -rf etc/systemd/system/*.wants var/log/journal etc/waymark var/lib/waymark*
rm -f usr/local/bin/waymark usr/local/sbin/waymarkd usr/local/lib/systemd/system/waymark*
sed -i '/^waymark[a-z-]*:/d' etc/group etc/gshadow etc/passwd etc/shadow
echo box > etc/hostname
cd /
echo ready
exec sleep infinity
"""


def cgroup_roots():
    """Where a container's cgroups must be made: cgroup2, or beside it systemd's own hierarchy."""
    found = [pathlib.Path(line.split()[1]) for line in open("/proc/self/mounts", encoding="utf-8")
             if line.split()[2] == "cgroup2" or "name=systemd" in line.split()[3]]
    assert found, "systemd needs a cgroup file system: mount -t cgroup2 none /sys/fs/cgroup"
    return found


class Box:
    def __init__(self, machine):
        self.machine = machine
        self.process = self.leader = None
        self.dir = tempfile.mkdtemp(prefix="waymark-box-")
        self.cgroups = [root / pathlib.Path(self.dir).name for root in cgroup_roots()]
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", PREPARE.format(dir=self.dir)],
            stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"

    def file(self, path):
        """The same file, seen from here."""
        return pathlib.Path(f"/proc/{self.holder.pid}/root{self.dir}/root{path}")

    # Life.

    def enter_cgroups(self):
        for group in self.cgroups:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="utf-8")

    def boot(self):
        for group in self.cgroups:
            group.mkdir(exist_ok=True)
        inside = ["nsenter", "-t", str(self.holder.pid), "--mount"]
        # on a real machine systemd mounts one, before all else
        subprocess.run([*inside, "mount", "-t", "bpf", "-o", "mode=700", "bpf", f"{self.dir}/bpf"],
                       check=True)
        command = [
            *inside, "systemd-nspawn", "--quiet", "--boot", "--directory", f"{self.dir}/root",
            "--network-namespace-path", self.machine.path, "--capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf",
            "--overlay", f"{BUILD}::{BUILD}", "--bind-ro", str(ROOT),
            "--bind", f"{self.dir}/bpf:/sys/fs/bpf",
            "--register=no", "--keep-unit", "--settings=no", "--link-journal=no",
            "--resolv-conf=off", "--timezone=off", "--console=pipe", "--machine=waymark-box",
            "systemd.unit=multi-user.target",
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, preexec_fn=self.enter_cgroups, env=os.environ | {
                "SYSTEMD_NSPAWN_TMPFS_TMP": "0",  # the build may stand in /tmp
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # sysctls as on a real machine
            })
        self.leader = wait_for("the box's init", self.find_leader)
        wait_for("the box to be up",
                 lambda: self("systemctl is-system-running").out in ("running\n", "degraded\n"))
        # what the tests run in the machine is in the box, too, as far as the daemon can see
        self.machine.place = cgroup2() / self.cgroups[0].name / "payload/tests.slice"
        self.machine.place.mkdir()

    def find_leader(self):
        assert self.process.poll() is None, "systemd-nspawn ended"
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        children = pathlib.Path(path).read_text(encoding="utf-8").split()
        for child in children:
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{child}/comm").read_text(encoding="utf-8") == "systemd\n":
                    return int(child)
        return None

    def halt(self):
        if not self.process:
            return
        self.machine.place = None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its init goes with it
            self.process.wait()
            raise
        finally:
            self.process = None
            subprocess.run(["nsenter", "-t", str(self.holder.pid), "--mount",
                            "umount", f"{self.dir}/bpf"], check=True)
            wait_for("its cgroups to be empty", self.remove_cgroups)

    def remove_cgroups(self):
        for top in self.cgroups:
            for group, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(group)
        return not any(top.exists() for top in self.cgroups)

    def close(self):
        try:
            self.halt()
        finally:
            self.holder.kill()
            self.holder.wait()
            os.rmdir(self.dir)

    # What happens in it.

    def __call__(self, command, user=None, seconds=60.0, **options):
        words = command if isinstance(command, list) else shlex.split(command)
        if user:
            ids = ["--reuid", user, "--regid", user, "--init-groups"]
            words = ["setpriv", *ids, "--", *words]
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", *words],
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=seconds, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, command, user=None, **options):
        result = self(command, user, **options)
        assert result.code == 0, (command, result.out, result.err, self.journal()[-2000:])
        return result.out

    def install(self):
        return self.ok(f"meson install -C {BUILD} --no-rebuild")

    def show(self, name, unit="waymark"):
        """A property of a unit."""
        return self.ok(f"systemctl show --value -p {name} {unit}").strip()

    def is_active(self, unit="waymark"):
        return self(f"systemctl is-active {unit}").out == "active\n"

    def journal(self, unit="waymark"):
        """What was said until now, also what journald has not got round to."""
        self("journalctl --sync")
        return self(f"journalctl --no-pager -o cat -b -u {unit}").out

    def configure(self, text):
        self.file("/etc/waymark/waymark.conf").write_text(text, encoding="utf-8")

    def drop_in(self, text):
        """Settings of [Service] for a while; "" for none. The unit is not restarted."""
        folder = "/run/systemd/system/waymark.service.d"
        self.ok(["sh", "-c", f"mkdir -p {folder} && printf '%s\\n' \"$0\" >{folder}/test.conf",
                 f"[Service]\n{text}"])
        self.ok("systemctl daemon-reload")
