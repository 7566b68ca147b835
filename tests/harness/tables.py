# SPDX-License-Identifier: LGPL-2.1-or-later
"""The BPF maps that a process holds, looked at from outside: what they take, and how much in them is not zero."""

import contextlib
import ctypes
import json
import mmap
import os

from proc import need, run

BPF = 321  # the system call, x86-64
GET_NEXT_KEY, GET_FD_BY_ID = 4, 14
HASH, ARRAY = 1, 2  # map types
MMAPABLE = 1 << 10
KEY_BYTES = 64

KEYS = {"objects": (2, 0), "sites": (4, 1)}  # words of an entry, and the one of them that is 0 when its place is free
SETTINGS = ("groups", "memcgpro.bss", "memcgpro.rodata", "memcgpro.data")  # written anew when they are needed again


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
            if "memlock" in info:  # of a map or a program; links name their program, too
                yield {key: value.strip() for key, value in info.items()}


def footprint(pid):
    """Bytes that the kernel says its maps and programs take, each counted once."""
    return sum({(i.get("map_id"), i.get("prog_id")): int(i["memlock"]) for i in fdinfos(pid)}.values())


def in_use(pid):
    """{map: how much of it is in use}: entries of hashes, objects and sites, else 64-bit words that are not zero."""
    found = {}
    for info in fdinfos(pid):
        if "map_id" not in info:
            continue
        map_id, kind, n, size = (int(info[key]) for key in ("map_id", "map_type", "max_entries", "value_size"))
        name = map_name(map_id)
        if name in SETTINGS or name in found:
            continue
        if kind == ARRAY and int(info["map_flags"], 16) & MMAPABLE:
            found[name] = array_words(map_id, n * ((size + 7) // 8 * 8), *KEYS.get(name, (1, 0)))
        elif kind == HASH:
            found[name] = hash_entries(map_id)
    return found


def map_name(map_id):
    done = run([need("bpftool"), "-j", "map", "show", "id", str(map_id)])
    return json.loads(done.stdout).get("name", "?") if done.returncode == 0 else f"map {map_id}"


def array_words(map_id, size, step, first):
    """Of each `step` words, how many `first` ones are not zero."""
    fd = bpf(GET_FD_BY_ID, IdArguments(id=map_id))
    try:
        with mmap.mmap(fd, (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE, prot=mmap.PROT_READ) as m:
            zero, used = bytes(mmap.PAGESIZE), 0
            for start in range(0, size, mmap.PAGESIZE):
                page = m[start:start + mmap.PAGESIZE]
                if page != zero:
                    used += sum(1 for word in memoryview(page).cast("Q")[first::step] if word)
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
