# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the folder of an Android keystore of before Jelly Bean, as its keystore.c writes it."""

import hashlib
import os
import pathlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
OLD_SALT = b"keystore\0"


def file_name(uid, key):
    name = f"{uid}_"
    for byte in key:
        if ord("0") <= byte <= ord("~"):
            name += chr(byte)
        else:
            name += chr(ord("+") + (byte >> 6)) + chr(ord("0") + (byte & 0x3F))
    return name


def blob(key, value, info=b"", reserved=b"\0\0\0"):
    data = len(value).to_bytes(4, "big") + value
    data += bytes(-len(data) % BLOCK)
    vector = os.urandom(BLOCK)
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(hashlib.md5(data).digest() + data) + encryptor.finalize()
    return reserved + bytes([len(info)]) + vector + encrypted + info


def derive(password, salt, iterations):
    return hashlib.pbkdf2_hmac("sha1", password, salt, iterations, BLOCK)


class AndroidStore:
    """`salted`: as Gingerbread and later; else with that many iterations."""

    def __init__(self, folder, password=b"old password", iterations=8192, salted=True):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.master = os.urandom(BLOCK)
        salt = os.urandom(BLOCK)
        key = derive(password, salt if salted else OLD_SALT, iterations)
        self.write(".masterkey", blob(key, self.master, salt if salted else b""))

    def write(self, name, data):
        (self.folder / name).write_bytes(data)
        return self

    def put(self, uid, key, value, **options):
        return self.write(file_name(uid, key), blob(self.master, value, **options))
