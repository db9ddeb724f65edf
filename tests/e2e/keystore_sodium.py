# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keystore's files, opened by somebody else: from docs/keystore.md and libsodium alone."""

import ctypes
import struct

MASTER_MAGIC, VALUE_MAGIC = b"WMKEYS1\n", b"WMVALUE1"
ARGON2ID = 2
PASSWORD, KEY_FILE = 1, 2
NONCE, TAG, SALT, KEY = 24, 16, 16, 32
SLOT = struct.Struct(f">BxxxII{SALT}s{NONCE}s{KEY + TAG}s")

sodium = ctypes.CDLL("libsodium.so.23")
sodium.sodium_init()


def argon2id(password, salt, passes, kib):
    out = ctypes.create_string_buffer(KEY)
    failed = sodium.crypto_pwhash(out, ctypes.c_ulonglong(KEY), password, ctypes.c_ulonglong(len(password)), salt,
                                  ctypes.c_ulonglong(passes), ctypes.c_size_t(kib << 10), ARGON2ID)
    assert not failed
    return out.raw


def opened(key, nonce, sealed, about):
    """None: not with this key, or it is not what it is said to be."""
    out = ctypes.create_string_buffer(max(1, len(sealed) - TAG))
    failed = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        out, None, None, sealed, ctypes.c_ulonglong(len(sealed)), about, ctypes.c_ulonglong(len(about)), nonce, key)
    return None if failed else out.raw[:len(sealed) - TAG]


def master_key(data, password):
    """(the master key, the key that it was sealed with) by a password."""
    assert data[:8] == MASTER_MAGIC
    for i in range(data[8]):
        at = 16 + i * SLOT.size
        kind, passes, kib, salt, nonce, sealed = SLOT.unpack_from(data, at)
        if kind == PASSWORD:
            outer = argon2id(password, salt, passes, kib)
            about = MASTER_MAGIC + data[at:at + SLOT.size - NONCE - KEY - TAG]
            return opened(outer, nonce, sealed, about), outer
    raise AssertionError("no password there")


def value(data, master, owner, key):
    assert data[:8] == VALUE_MAGIC
    about = VALUE_MAGIC + struct.pack(">IB", owner, len(key)) + key
    return opened(master, data[8:8 + NONCE], data[8 + NONCE:], about)
