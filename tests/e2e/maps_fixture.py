# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine for `waymarkd --backend maps`, whatever back-end the other tests have."""

import pathlib

from harness import Machine


class BoundMachine(Machine):
    def __init__(self):
        super().__init__()
        self.bind()

    def pins(self):
        return [p for p in pathlib.Path(self.bpffs).rglob("*") if p.suffix != ".debug"]
