# SPDX-License-Identifier: LGPL-2.1-or-later
"""minivtun's wire format a second time, made from its description alone: what the program is tested against.

A message is `opcode, 0, seq, auth` and a body; it is padded with zeros, encrypted as a whole, and sent as
one datagram. Here is the format (Codec and the functions behind it), and a client and a server that keep
a record of all they see, so that tests can ask. They are as slow as they are plain.
"""

import collections
import contextlib
import errno
import fcntl
import hashlib
import ipaddress
import os
import random
import selectors
import socket
import struct
import threading
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from harness import in_namespace, wait_for

ECHO_REQ, IPDATA, DISCONNECT, ECHO_ACK = range(4)
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
HEADER = struct.Struct(">BBH16s")
DATA = struct.Struct(">HH")
ECHO = struct.Struct(">4s16sI")
LARGEST = 8192
IV = bytes.fromhex("abcdef1234567890") * 2

TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x1, 0x2, 0x1000
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32

Message = collections.namedtuple("Message", "opcode seq body")
Seen = collections.namedtuple("Seen", "time address opcode seq body")
Echo = collections.namedtuple("Echo", "ip ip6 id")


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


class Cbc:
    """A block cipher in CBC, the IV always the same; blocks are made whole by zeros, not by PKCS padding."""

    def __init__(self, algorithm, key, block):
        self.cipher = Cipher(algorithm(key), modes.CBC(IV[:block]))
        self.block = block

    def seal(self, data):
        work = self.cipher.encryptor()
        return work.update(data) + work.finalize()

    def open(self, data):
        work = self.cipher.decryptor()
        return work.update(data) + work.finalize()


class Desx:
    """DES between two whitenings (RSA's DES-X), chained as CBC does."""

    block = 8

    def __init__(self, key):
        self.des = Cipher(algorithms.TripleDES(key[:8]), modes.ECB())
        self.before, self.after = key[8:16], key[16:24]

    def seal(self, data):
        work, last, out = self.des.encryptor(), IV[:8], b""
        for i in range(0, len(data), 8):
            block = xor(xor(data[i:i + 8], last), self.before)
            last = xor(work.update(block), self.after)
            out += last
        return out

    def open(self, data):
        work, last, out = self.des.decryptor(), IV[:8], b""
        for i in range(0, len(data), 8):
            block = data[i:i + 8]
            out += xor(xor(work.update(xor(block, self.after)), self.before), last)
            last = block
        return out


class Rc4:
    """The same stream for each message: it has no IV at all, and is padded as if that had 16 bytes."""

    block = 16

    def __init__(self, key):
        self.cipher = Cipher(algorithms.ARC4(key), None)

    def seal(self, data):
        return self.cipher.encryptor().update(data)

    open = seal


class Clear:
    """Without a password."""

    block = 1

    def seal(self, data):
        return data

    open = seal


CIPHERS = {
    "aes-128": lambda key: Cbc(algorithms.AES, key[:16], 16),
    "aes-256": lambda key: Cbc(algorithms.AES, key[:32], 16),
    "des": lambda key: Cbc(algorithms.TripleDES, key[:8], 8),
    "desx": Desx,
    "rc4": lambda key: Rc4(key[:16]),
}


class Codec:
    """Messages to datagrams and back, for one password and cipher."""

    def __init__(self, password="", cipher="aes-128"):
        key = hashlib.md5(password.encode()).digest() * 2 if password else bytes(32)
        self.auth = key[:16]
        self.cipher = CIPHERS[cipher](key) if password else Clear()

    def seal(self, message):
        """Also what is no message."""
        return self.cipher.seal(message + bytes(-len(message) % self.cipher.block))

    def pack(self, opcode, seq, body=b"", auth=None):
        return self.seal(HEADER.pack(opcode, 0, seq & 0xFFFF, auth or self.auth) + body)

    def unpack(self, datagram):
        """None for what has to be dropped."""
        if len(datagram) < HEADER.size or len(datagram) % self.cipher.block:
            return None
        message = self.cipher.open(datagram)
        opcode, _, seq, auth = HEADER.unpack_from(message)
        return Message(opcode, seq, message[HEADER.size:]) if auth == self.auth else None


def data_body(packet, tap=False):
    if tap:
        proto = 0
    else:
        proto = ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP
    return DATA.pack(proto, len(packet)) + packet


def packet_of(body, tap=False):
    """The packet in the body of IPDATA; None for what has to be dropped."""
    if len(body) < DATA.size:
        return None
    proto, length = DATA.unpack_from(body)
    least = {0: 14} if tap else {ETH_P_IP: 20, ETH_P_IPV6: 40}
    if length < least.get(proto, 1 << 16) or length > len(body) - DATA.size:
        return None
    return body[DATA.size:DATA.size + length]


def addresses_of(packet, tap=False):
    """(source, destination), as they are in an Echo or in a table."""
    if tap:
        return packet[6:12], packet[:6]
    if packet[0] >> 4 == 6:
        return packet[8:24], packet[24:40]
    return packet[12:16], packet[16:20]


def packed(address):
    return ipaddress.ip_address(address).packed


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[:len(data) & ~1]))
    total += data[-1] << 8 if len(data) & 1 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_packet(source, destination, payload, ports=(9, 9)):
    """An inner packet, complete with its checksums."""
    src, dst = packed(source), packed(destination)
    length = 8 + len(payload)
    udp = struct.pack(">HHHH", *ports, length, 0) + payload
    pseudo = src + dst + struct.pack(">II", length, 17)
    udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    if len(src) == 16:
        return struct.pack(">IHBB", 6 << 28, length, 17, 64) + src + dst + udp
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, 17, 0, src, dst)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp


def payload_of(packet):
    """That of a UDP packet."""
    return packet[48:] if packet[0] >> 4 == 6 else packet[28:]


class Tun:
    """An interface of a namespace, and the packets in it."""

    def __init__(self, namespace, name, *addresses, tap=False, mtu=1300):
        self.namespace, self.name = namespace, name
        self.fd = in_namespace(namespace, lambda: self._open(name, tap))
        namespace.ip(f"link set {name} mtu {mtu} up", *(f"addr add {a} dev {name}" for a in addresses))

    @staticmethod
    def _open(name, tap):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        flags = (IFF_TAP if tap else IFF_TUN) | IFF_NO_PI
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        return fd

    def read(self):
        with contextlib.suppress(BlockingIOError):
            return os.read(self.fd, 65536)
        return None

    def write(self, packet):
        try:
            os.write(self.fd, packet)
        except OSError as error:  # the kernel does not want it: it is not an IP packet
            assert error.errno == errno.EINVAL, error

    def close(self):
        os.close(self.fd)


class Peer:
    """One side of a tunnel, in a thread of its own. What it has seen is in `seen`, oldest first."""

    tap = False

    def __init__(self, namespace, codec, tun=None):
        self.namespace, self.codec, self.tun = namespace, codec, tun
        self.seq = random.randrange(1 << 16)
        self.seen = []
        self.refused = []  # datagrams that are no message
        self.sock = None
        self.stopping = False
        self.lock = threading.Lock()
        self.selector = selectors.DefaultSelector()
        self.wake, self.woken = os.pipe()
        self.selector.register(self.wake, selectors.EVENT_READ)
        if tun:
            self.selector.register(tun.fd, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def take(self, sock):
        """From now on this is its socket."""
        for option in (SO_RCVBUFFORCE, SO_SNDBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        sock.setblocking(False)
        with self.lock:
            old, self.sock = self.sock, sock
            if old:
                self.selector.unregister(old)
                old.close()
            self.selector.register(sock, selectors.EVENT_READ)
        return self

    def start(self):
        self.thread.start()
        return self

    def _run(self):
        while not self.stopping:
            for key, _ in self.selector.select(self.tick()):
                if self.tun and key.fd == self.tun.fd:
                    self._from_tun()
                elif key.fd != self.wake:
                    self._from_wire()

    def _from_tun(self):
        while packet := self.tun.read():
            self.sent_here(packet)

    def _from_wire(self):
        while True:
            with self.lock:
                try:
                    datagram, address = self.sock.recvfrom(LARGEST + 1)
                except BlockingIOError:
                    return
            message = self.codec.unpack(datagram)
            if message is None:
                self.refused.append(datagram)
                continue
            # what it means comes first: who waits for a message to be seen may rely on that
            self.heard(message, address)
            self.seen.append(Seen(time.monotonic(), address, *message))

    def heard(self, message, address):
        if message.opcode == IPDATA:
            packet = packet_of(message.body, self.tap)
            if packet:
                self.arrived(packet, address)
                if self.tun:
                    self.tun.write(packet)

    def send_to(self, address, opcode, body=b""):
        with self.lock:
            datagram = self.codec.pack(opcode, self.seq, body)
            self.seq += 1
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError, PermissionError):
                self.sock.sendto(datagram, address)

    # What sides do differently.

    def tick(self):
        """Called now and then; the seconds until it has to be called again."""
        return None

    def sent_here(self, packet):
        """A packet came from the TUN."""

    def arrived(self, packet, address):
        """A packet goes to the TUN."""

    # What tests ask.

    def all(self, opcode, since=0.0):
        return [m for m in list(self.seen) if m.opcode == opcode and m.time >= since]

    def wait(self, opcode, condition=lambda m: True, since=0.0):
        """The first such message; waited for, when it is not there yet."""
        def find():
            return next((m for m in self.all(opcode, since) if condition(m)), None)

        return wait_for(f"a message {opcode}", find)

    def wait_payload(self, payload):
        """The IPDATA with the UDP packet that has it."""
        def has(message):
            packet = packet_of(message.body, self.tap)
            return packet is not None and payload in packet

        return self.wait(IPDATA, has)

    def close(self):
        self.stopping = True
        os.write(self.woken, b"x")
        self.thread.join(timeout=5)
        self.selector.close()
        os.close(self.wake)
        os.close(self.woken)
        self.sock.close()
        if self.tun:
            self.tun.close()


class Server(Peer):
    """The two tables are one here: virtual → real address. It answers echo requests if `answers`, which
    may be a function that is asked each time; `slow` seconds late; or with a `wrong_id`."""

    def __init__(self, namespace, address, codec, tun=None, tap=False):
        super().__init__(namespace, codec, tun)
        self.tap, self.table = tap, {}
        self.answers, self.wrong_id, self.slow = True, False, 0.0
        self.take(in_namespace(namespace, lambda: bound(address))).start()

    def heard(self, message, address):
        if message.opcode == ECHO_REQ and len(message.body) >= ECHO.size:
            echo = Echo(*ECHO.unpack_from(message.body))
            for virtual in (echo.ip[:4], echo.ip6):
                if any(virtual) and not self.tap:
                    self.table[virtual] = address
            body = message.body[:ECHO.size]
            if self.wrong_id:
                body = ECHO.pack(echo.ip, echo.ip6, echo.id ^ 1)
            time.sleep(self.slow)
            if self.answers() if callable(self.answers) else self.answers:
                self.send_to(address, ECHO_ACK, body)
        super().heard(message, address)

    def arrived(self, packet, address):
        self.table[addresses_of(packet, self.tap)[0]] = address

    def sent_here(self, packet):
        to = addresses_of(packet, self.tap)[1]
        everybody = self.tap and to[0] & 1
        for address in set(self.table.values()) if everybody else filter(None, [self.table.get(to)]):
            self.send_to(address, IPDATA, data_body(packet, self.tap))


class Client(Peer):
    """Says hello at once, then every `keepalive` seconds; 0: only when it is told to."""

    def __init__(self, namespace, server, codec, virtual=(), tun=None, tap=False, source=None,
                 keepalive=1.0):
        super().__init__(namespace, codec, tun)
        self.tap, self.server, self.keepalive, self.next = tap, server, keepalive, 0.0
        self.ip, self.ip6 = bytes(4), bytes(16)
        for address in map(packed, virtual):
            if len(address) == 4:
                self.ip = address
            else:
                self.ip6 = address
        self.move(source)
        self.start()

    def move(self, source=None):
        """To a new socket, which is another real address."""
        source = source or ("::" if ":" in self.server[0] else "0.0.0.0")
        return self.take(in_namespace(self.namespace, lambda: bound((source, 0))))

    def tick(self):
        if not self.keepalive:
            return None
        now = time.monotonic()
        if now >= self.next:
            self.hello()
            self.next = now + self.keepalive
        return self.next - now

    def hello(self, number=None):
        """The id that the answer will have."""
        number = random.randrange(1 << 32) if number is None else number
        self.send_to(self.server, ECHO_REQ, ECHO.pack(self.ip, self.ip6, number))
        return number

    def ask(self):
        """A hello that is answered, sent again as UDP must be; the answer."""
        asked = set()

        def answer():
            asked.add(self.hello())
            time.sleep(0.05)
            return next((m for m in self.all(ECHO_ACK)
                         if ECHO.unpack_from(m.body)[2] in asked), None)

        return wait_for("an answer", answer)

    def say(self, packet):
        self.send_to(self.server, IPDATA, data_body(packet, self.tap))

    def sent_here(self, packet):
        self.say(packet)


def bound(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(address)
    return sock
