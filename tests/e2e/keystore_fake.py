# SPDX-License-Identifier: LGPL-2.1-or-later
"""A keystore that answers what a real one hardly does: damage, nonsense, nothing at all."""

import pathlib
import socket
import threading


class FakeKeystore:
    """Answers each action by its code, with these bytes; None: hangs up without an answer. Keeps what
    it was asked. It reads a request to its end, unless `hasty`."""

    def __init__(self, runtime, answers, hasty=False):
        self.answers, self.hasty, self.asked = answers, hasty, []
        self.path = pathlib.Path(runtime) / "keystore"
        self.path.parent.mkdir(exist_ok=True)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(self.path))
        self.path.chmod(0o666)
        self.server.listen(16)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            with peer:
                self._answer(peer)

    def _answer(self, peer):
        request = peer.recv(1)
        while not self.hasty and (more := peer.recv(65536)):
            request += more
        if request:
            self.asked.append(request)
            peer.sendall(self.answers.get(request[:1].decode(), b"\x09") or b"")

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()
        self.path.unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
