# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every way of sending, by apps of every strength: right network or blocked, and no packet astray.

What the matrix is made of, and what has to come of each case, is in matrix.py.
"""

import pytest

from matrix import CASES, PATHS, SELECTORS, Matrix, complaints, report

PAIRS = [(path.name, kind) for path in PATHS.values() for kind in path.selectors]
FEW = [case for case in CASES if case.who == "main"]


def check(rows):
    """The detector first: who is not assigned is seen on the wire that was asked for."""
    wrong = complaints(row for row in rows if row.strength == "unassigned")
    if wrong:
        pytest.fail("the captures cannot be believed: " + report(wrong), pytrace=False)
    wrong = complaints(rows)
    if wrong:
        pytest.fail(report(wrong), pytrace=False)


@pytest.mark.parametrize("path,selector", PAIRS)
def test_matrix(path, selector):
    """On both networks; then eth1 loses IPv6, then its carrier. What an app is known by makes no
    difference there: others than users see the daemon killed instead."""
    with Matrix(PATHS[path], SELECTORS[selector]) as matrix:
        check(matrix.run(CASES))
        if selector != "uid":
            matrix.daemon.kill()
            if not matrix.path.asks:
                check(matrix.run(FEW))
            return
        matrix.take_ipv6()
        check(matrix.run(FEW))
        matrix.take_carrier()
        check(matrix.run(FEW, ("require", "none")))


def judgements(matrix, strengths=("require", "none")):
    """What is complained of, by the case's option."""
    options = ("plain", "device")
    rows = matrix.run([case for case in CASES if case.family == "4" and case.who == "main"
                       and case.option.name in options], strengths, programs=("probe",))
    return {option: {row.complaint() for row in rows if row.case.option.name == option}
            for option in options}


def test_the_judge_complains_of_what_is_wrong():
    """Without the daemon, its guard and then its rules are taken away; nobody puts them back."""
    with Matrix(PATHS["rules"], SELECTORS["uid"]) as matrix:
        machine = matrix.machine
        matrix.daemon.kill()
        assert judgements(matrix) == {"plain": {None}, "device": {None}}

        # only the guard: without marks on what comes in, resets of the kernel's own would go astray
        machine.run(["nft", "flush chain inet waymark guard_postrouting"])
        found = judgements(matrix)
        assert found["plain"] == {None}
        assert "LEAKED: blocked, and left by eth0" in found["device"]

        for priority in (8000, 9000):
            while machine.run(["ip", "rule", "del", "priority", str(priority)],
                              check=False).returncode == 0:
                pass
        assert judgements(matrix)["plain"] == {
            "LEAKED: left by eth0, not by eth1 alone", "LEAKED: blocked, and left by eth0"}
