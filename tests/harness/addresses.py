# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds kernel addresses in what leaves the daemon: as hexadecimal or decimal text, and as a number in a message.

Kernel addresses of 64 bits lie in the upper half; its last 16 MiB are left out, which no mapping uses, because small negative
figures look like that. What kallsyms lists is looked for as well, wherever it lies."""

import json
import os
import re
import signal
import struct
import subprocess

from proc import ended, eventually, need
from tap import check

LOW, HIGH = 0xffff000000000000, 0xffffffffff000000
ENOUGH = 1 << 32  # shorter numbers are no addresses


def kallsyms(path="/proc/kallsyms"):
    """All addresses that the symbol table knows; empty where the kernel hides them."""
    with open(path, encoding="ascii", errors="replace") as f:
        return {int(line.split(None, 1)[0], 16) for line in f} - {0}


def is_address(value, symbols):
    value %= 1 << 64
    return LOW <= value < HIGH or (value >= ENOUGH and value in symbols)


def in_text(text, symbols):
    """Words of `text` that are addresses."""
    found = []
    for word in re.findall(r"(?<![0-9A-Za-z])(?:0[xX])?([0-9a-fA-F]{9,16})(?![0-9A-Za-z])", text):
        if is_address(int(word, 16), symbols):
            found.append(word)
    for word in re.findall(r"(?<![0-9A-Za-z.])-?[0-9]{10,20}(?![0-9A-Za-z])", text):
        if -(1 << 63) <= int(word) < 1 << 64 and is_address(int(word), symbols):
            found.append(word)
    return found


def in_message(data, symbols):
    """Numbers of 64 bits in the bytes of a message of D-Bus, where each lies at a multiple of its size."""
    return [hex(value) for value, in struct.iter_unpack("<Q", data[:len(data) & ~7]) if is_address(value, symbols)]


class Capture:
    """Every message of a private bus, whole, from enter to the call of messages()."""

    def __init__(self, bus, path):
        self.bus, self.path = bus, path

    def __enter__(self):
        need("busctl")
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(["busctl", f"--address={self.bus.address}", f"--size={1 << 27}", "capture"], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.PIPE, start_new_session=True)
        self.process.stderr.readline()  # "Monitoring bus message stream."
        return self

    def messages(self, last):
        """The bytes of each; waits until the bytes `last` are among them, which the caller has sent."""
        def arrived():
            with open(self.path, "rb") as f:
                data = f.read()
            return data if last in data else None
        data = eventually(arrived, 20, "the last message was not captured")
        at, found = 0, []  # a file of pcapng: blocks, of which those of kind 6 hold a packet each
        while at + 32 <= len(data):
            kind, size = struct.unpack_from("<II", data, at)
            if kind == 6:
                kept, whole = struct.unpack_from("<II", data, at + 20)
                check(kept == whole, "a message was cut")
                found.append(data[at + 28:at + 28 + kept])
            at += size
        return found

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        if not ended(self.process, 10):
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def files_below(directory):
    for where, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                with open(path, encoding="utf-8", errors="backslashreplace") as f:
                    yield path, f.read()


def require_none(what, text, symbols):
    """Fails when `text` has an address in it."""
    found = in_text(text, symbols)
    check(not found, f"{what} has kernel addresses in it: {found[:5]}")


def require_none_on_bus(messages, symbols):
    for message in messages:
        found = in_message(message, symbols) + in_text(message.decode("utf-8", "replace"), symbols)
        check(not found, f"a message has kernel addresses in it: {found[:5]} in {message[:200]}...")


def finds_what_it_looks_for(symbols):
    """The search itself: it sees each form, and nothing in what only looks like one."""
    address = 0xffffffff81234567
    for text in (f"at {address:x}+0x10", f"0x{address:X}", json.dumps({"a": address}), json.dumps([address - (1 << 64)]), f"[<{address:016x}>]",
                 "ffff888012345678"):
        check(in_text(text, symbols), f"not seen: {text}")
    check(in_message(bytes(16) + address.to_bytes(8, "little"), symbols), "a number in a message is not seen")
    for symbol in sorted(s for s in symbols if s >= ENOUGH)[:3]:
        check(in_text(f"{symbol:x}", symbols) and in_text(f"{symbol}", symbols), "a symbol's address is not seen")
    for text in ("-5", "18446744073709551611", "a" * 64, "1764280000000000", "ffffffff", "deadbeefdeadbeef0"):
        check(not in_text(text, symbols), f"no address: {text}")
    check(not in_message((-5).to_bytes(8, "little", signed=True), symbols), "a small negative figure")
