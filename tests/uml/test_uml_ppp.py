# SPDX-License-Identifier: LGPL-2.1-or-later
"""An adopted VPN that pppd makes, where rules alone hold its apps. guest_ppp.py does it, on the other
kernel; here it is judged."""

import json
import os

import pytest

import uml

OURS = "10.88.0.2"
OUT = {"IPv4": ("10.0.0.2", [["eth0", "10.0.0.2"]]), "IPv6": ("fd00::2", [["eth0", "fd00::2"]])}
# When: does the app get through by ppp7?
PHASES = {"before it is there": False, "up": True, "dialled again": True, "killed": False,
          "up again": True, "both gone": False, "without a daemon": False, "adopted again": True}


@pytest.fixture(scope="module")
def seen():
    """[{when, user, family, answer, left, …}] and what left while the app waited."""
    code, output = uml.run(["/usr/bin/python3", "-B", str(uml.HERE / "guest_ppp.py")],
                           env={"WAYMARKD": os.path.abspath(uml.WAYMARKD)},
                           modules=[*uml.MODULES, "ppp_async"])
    assert code == 0, output[-8000:]
    facts = [json.loads(line) for line in output.splitlines()]
    return ({(f["when"], f["user"], f["family"]): f for f in facts if f["what"] == "ppp"},
            [f["left"] for f in facts if f["what"] == "wait"])


@pytest.mark.parametrize("family", OUT)
def test_the_detector_sees_it_without_a_vpn(seen, family):
    for user in ("require", "nothing"):
        found = seen[0]["nothing is there", user, family]
        assert (found["answer"], found["left"]) == OUT[family]


@pytest.mark.parametrize("when", PHASES)
def test_by_ppp_or_not_at_all(seen, when):
    four, six = (seen[0][when, "require", family] for family in OUT)
    if PHASES[when]:
        assert (four["answer"], four["left"]) == (OURS, [["ppp7", OURS]])
    else:
        assert (four["answer"], four["left"]) == ("EACCES", [])
    assert six["answer"] in ("EACCES", "EHOSTUNREACH") and six["left"] == []
    for family, expected in OUT.items():
        found = seen[0][when, "nothing", family]
        assert (found["answer"], found["left"]) == expected, "others are not touched"


def test_while_it_waits_nothing_leaves(seen):
    assert [left for left in seen[1] if left] == []


def test_it_was_another_interface_each_time(seen):
    numbers = [seen[0][when, "require", "IPv4"]["index"] for when, through in PHASES.items() if through]
    assert len(set(numbers)) == 4 and 0 not in numbers
    assert seen[0]["killed", "require", "IPv4"]["index"] == 0
