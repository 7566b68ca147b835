# SPDX-License-Identifier: LGPL-2.1-or-later
"""The BPF maps that a process holds, looked at from outside: what they take, and how much in them is not zero."""

import contextlib
import ctypes
import mmap
import os

BPF = 321  # the system call, x86-64
GET_NEXT_KEY, GET_FD_BY_ID = 4, 14
HASH, ARRAY = 1, 2  # map types
MMAPABLE = 1 << 10
KEY_BYTES = 64


class KeyArguments(ctypes.Structure):
    """The part of union bpf_attr that walks over keys."""
    _fields_ = [("map_fd", ctypes.c_uint32), ("pad", ctypes.c_uint32), ("key", ctypes.c_uint64), ("next_key", ctypes.c_uint64)]


class IdArguments(ctypes.Structure):
    """The part of union bpf_attr that makes a descriptor of an id."""
    _fields_ = [("id", ctypes.c_uint32), ("next_id", ctypes.c_uint32), ("open_flags", ctypes.c_uint32)]


def bpf(command, arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    r = libc.syscall(ctypes.c_long(BPF), ctypes.c_long(command), ctypes.byref(arguments), ctypes.c_long(ctypes.sizeof(arguments)))
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r


def fdinfos(pid):
    """fdinfo of everything that is a map or a program."""
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as f:
            info = dict(line.split(":", 1) for line in f if ":" in line)
            if "map_id" in info or "prog_id" in info:
                yield {key: value.strip() for key, value in info.items()}


def footprint(pid):
    """Bytes that the kernel says its maps and programs take, each counted once."""
    return sum({(i.get("map_id"), i.get("prog_id")): int(i["memlock"]) for i in fdinfos(pid)}.values())


def words_in_use(pid):
    """64-bit words that are not zero in arrays that can be mapped, and entries of hashes: {(map's id, size): n}."""
    found = {}
    for info in fdinfos(pid):
        if "map_id" not in info:
            continue
        kind, n, size = int(info["map_type"]), int(info["max_entries"]), int(info["value_size"])
        key = (int(info["map_id"]), n)
        if kind == ARRAY and int(info["map_flags"], 16) & MMAPABLE:
            found[key] = array_words(key[0], n * ((size + 7) // 8 * 8))
        elif kind == HASH:
            found[key] = hash_entries(key[0])
    return found


def array_words(map_id, size):
    fd = bpf(GET_FD_BY_ID, IdArguments(id=map_id))
    try:
        with mmap.mmap(fd, (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE, prot=mmap.PROT_READ) as m:
            zero, used = bytes(mmap.PAGESIZE), 0
            for start in range(0, size, mmap.PAGESIZE):
                page = m[start:start + mmap.PAGESIZE]
                if page != zero:
                    used += sum(1 for word in memoryview(page).cast("Q") if word)
            return used
    finally:
        os.close(fd)


def hash_entries(map_id):
    fd = bpf(GET_FD_BY_ID, IdArguments(id=map_id))
    key, following, n = (ctypes.c_char * KEY_BYTES)(), (ctypes.c_char * KEY_BYTES)(), 0
    try:
        arguments = KeyArguments(map_fd=fd, key=0, next_key=ctypes.addressof(following))
        with contextlib.suppress(FileNotFoundError):  # ENOENT: that was the last
            while True:
                bpf(GET_NEXT_KEY, arguments)
                n += 1
                ctypes.memmove(key, following, KEY_BYTES)
                arguments.key = ctypes.addressof(key)
        return n
    finally:
        os.close(fd)
