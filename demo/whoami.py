# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo's server: http://whoami.example/ answers with the address that it sees you come from."""

import http.server
import socket


class Whoami(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].removeprefix("::ffff:").encode() + b"\n")

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 as well
        super().server_bind()


Server(("::", 80), Whoami).serve_forever()
