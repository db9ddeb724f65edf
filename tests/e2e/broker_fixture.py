# SPDX-License-Identifier: LGPL-2.1-or-later
"""A system bus for one daemon: the real dbus-daemon with the policy that is installed with Waymark,
the real polkitd, and one that can be made to behave as no real one would."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

from dbus_peer import BUS, RETURN, DBusError, Peer, message
from harness import (CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, ROOT, TESTS, WAIT, checked, die_with,
                     libc, wait_for)

WAYMARK, POLKIT = "org.waymark1", "org.freedesktop.PolicyKit1"
POLKITD = "/usr/lib/polkit-1/polkitd"
BUS_PATH = "/org/freedesktop/DBus"

# What is not said here is as on a real system bus: nobody may own a name or call a method unless a
# service's own policy lets him.
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
    <allow own="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""
POLICY = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy user="root"><allow own="org.waymark1"/></policy>
  <policy context="default"><allow send_destination="org.waymark1"/></policy>
</busconfig>
"""
ACTIONS = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<policyconfig>
  <action id="org.waymark1.change">
    <description>Change networks and assignments</description>
    <message>Authentication is required to change networks and assignments</message>
    <defaults>
      <allow_any>auth_admin</allow_any>
      <allow_inactive>auth_admin</allow_inactive>
      <allow_active>auth_admin_keep</allow_active>
    </defaults>
  </action>
</policyconfig>
"""


def enter(mounts):
    """Before a program is run: it will not outlive the tests, and sees these folders as its own."""
    die_with(TESTS)
    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    for target, source in mounts.items():
        checked(libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None))


class Broker:
    """A dbus-daemon; what was connected to it is not, once it is stopped."""

    def __init__(self, accounts):
        self.accounts = accounts  # it refuses users whom it does not know
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="waymark-test-bus-"))
        self.folder.chmod(0o755)
        self.process = None
        policy = ROOT / "data/org.waymark1.conf"
        if not policy.exists():
            policy = self.folder / "waymark.conf"
            policy.write_text(POLICY)
        self.config = self.folder / "bus.conf"
        self.config.write_text(BUS_CONFIG.format(folder=self.folder, policy=policy))
        self.start()

    @property
    def path(self):
        return str(self.folder / "bus")

    @property
    def env(self):
        return {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.path}"}

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self.config}", "--nofork", "--nopidfile",
             "--nosyslog"], preexec_fn=lambda: enter({"/etc": self.accounts.folder}))
        wait_for("the broker", self.answers)

    def answers(self):
        """Its socket is there before it listens, and before others than root may connect."""
        try:
            self.peer(broker=BUS).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)

    def peer(self, uid=0, broker=WAYMARK, **who):
        return Peer(self.path, uid, broker=broker, **who)

    def owner(self, name):
        """The unique name of who has it; None: nobody."""
        with self.peer(broker=BUS) as p:
            try:
                return p.call("GetNameOwner", "s", name, interface=BUS, path=BUS_PATH)[0]
            except DBusError:
                return None

    def wait_owner(self, name=WAYMARK):
        return wait_for(name, lambda: self.owner(name))


class Polkit:
    """The real polkitd, with our action and one rule of JavaScript."""

    def __init__(self, broker, rule):
        self.broker = broker
        actions, rules = broker.folder / "actions", broker.folder / "rules.d"
        for folder in (actions, rules):
            folder.mkdir(exist_ok=True)
        ours = ROOT / "data/org.waymark1.policy"
        (actions / "org.waymark1.policy").write_text(ours.read_text() if ours.exists() else ACTIONS)
        (rules / "10-test.rules").write_text(rule)
        mounts = {"/usr/share/polkit-1/actions": actions, "/etc/polkit-1/rules.d": rules}
        self.process = subprocess.Popen([POLKITD, "--no-debug"], preexec_fn=lambda: enter(mounts),
                                        env=os.environ | broker.env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        broker.wait_owner(POLKIT)

    def signal(self, number):
        self.process.send_signal(number)

    def close(self):
        self.process.kill()
        self.process.wait()


class FakePolkit(threading.Thread):
    """Answers only when it is told to, so that much can happen meanwhile."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.peer = broker.peer(broker=BUS, timeout=3600)
        self.peer.call("RequestName", "su", POLKIT, 4, interface=BUS, path=BUS_PATH)
        self.asked = []  # (sender, serial, subject, action, flags)
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError):
            while True:
                _, fields, args = self.peer.receive(time.monotonic() + 3600)
                if fields.get("member") == "CheckAuthorization":
                    subject, action, _, flags, _ = args
                    self.asked.append((fields["sender"], fields["serial"], subject, action, flags))

    def wait_asked(self, n=1):
        wait_for("a question to polkit", lambda: len(self.asked) >= n)
        return self.asked[n - 1]

    def answer(self, n, yes):
        """To the n-th question, the first is 1."""
        sender, serial, *_ = self.asked[n - 1]
        self.peer.sock.sendall(message(RETURN, 1000 + n, {"reply_serial": serial,
                                                          "destination": sender},
                                       "(bba{ss})", (yes, False, {})))

    def close(self):
        self.peer.sock.shutdown(2)
        self.join(WAIT)
        self.peer.close()
