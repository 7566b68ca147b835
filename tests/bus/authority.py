#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A polkit that answers as a test wants, for what the real one never does; and callers of any user.

As a program: authority.py --serve ADDRESS DIRECTORY. It reads what to answer from DIRECTORY/answer at each question, and appends
what it was asked, and what was taken back, to DIRECTORY/log, a JSON list a line."""

import json
import os
import signal
import subprocess
import sys

import dbus
import dbus.bus

NAME = "org.freedesktop.PolicyKit1"
PATH = "/org/freedesktop/PolicyKit1/Authority"

# What can be in the file `answer`; anything else is an error's text.
ANSWERS = {
    "yes": ("(bba{ss})", ((True, False, {}),)),
    "no": ("(bba{ss})", ((False, False, {}),)),
    "challenge": ("(bba{ss})", ((False, True, {}),)),
    "malformed nothing": ("", ()),
    "malformed text": ("s", ("yes",)),
    "malformed short": ("(bb)", ((True, True),)),
    "malformed flat": ("bba{ss}", (True, False, {})),
    "malformed long": ("(bba{ss})b", ((True, False, {}), True)),
    "malformed numbers": ("(uua{ss})", ((1, 0, {}),)),
}


def serve(address, directory):
    import dbus.mainloop.glib
    from dbus import lowlevel
    from gi.repository import GLib

    kept = []

    def answer(connection, message, word):
        if word in ANSWERS:
            reply = lowlevel.MethodReturnMessage(message)
            signature, values = ANSWERS[word]
            if signature:
                reply.append(signature=signature, *values)
        else:
            reply = lowlevel.ErrorMessage(message, "org.freedesktop.PolicyKit1.Error.Failed", word)
        connection.send_message(reply)

    def handle(connection, message):
        if message.get_type() != 1 or message.get_interface() != "org.freedesktop.PolicyKit1.Authority":
            return lowlevel.HANDLER_RESULT_NOT_YET_HANDLED
        with open(f"{directory}/log", "a", encoding="utf-8") as f:
            f.write(json.dumps([message.get_member(), *message.get_args_list()]) + "\n")
        if message.get_member() == "CheckAuthorization":
            with open(f"{directory}/answer", encoding="utf-8") as f:
                word = f.read()
            if word == "later":
                kept.append((connection, message))
            else:
                answer(connection, message, word)
        return lowlevel.HANDLER_RESULT_HANDLED

    def release(*_):
        """The kept ones, last one first, so that answers cross."""
        with open(f"{directory}/release", encoding="utf-8") as f:
            words = json.load(f)
        for word in words:
            answer(*kept.pop(), word)
        return True

    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    connection = dbus.bus.BusConnection(address)
    connection.add_message_filter(handle)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, release)
    connection.request_name(NAME)
    print("ready", flush=True)
    GLib.MainLoop().run()


class Authority:
    """On `bus` from enter to exit."""

    def __init__(self, bus, directory):
        self.bus, self.directory = bus, directory

    def __enter__(self):
        open(f"{self.directory}/log", "w", encoding="utf-8").close()
        self.answer("no")
        self.process = subprocess.Popen([sys.executable, __file__, "--serve", self.bus.address, self.directory], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the fake polkit did not start")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def _write(self, name, text):
        with open(f"{self.directory}/{name}.new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(f"{self.directory}/{name}.new", f"{self.directory}/{name}")

    def answer(self, word):
        """What questions from now on get."""
        self._write("answer", word)
        self.seen = len(self.said("CheckAuthorization"))

    def release(self, *words):
        """Answers the last questions that were kept, the youngest first."""
        self._write("release", json.dumps(words))
        self.process.send_signal(signal.SIGUSR1)

    def said(self, member):
        with open(f"{self.directory}/log", encoding="utf-8") as f:
            return [line[1:] for line in map(json.loads, f) if line[0] == member]

    def questions(self):
        """What was asked since the last call of this or of answer(): (sender, action, details, flags, id)."""
        asked = self.said("CheckAuthorization")
        new, self.seen = asked[self.seen:], len(asked)
        return [(subject[1]["name"], action, details, flags, cancel) for subject, action, details, flags, cancel in new]

    def taken_back(self):
        return [cancel for cancel, in self.said("CancelCheckAuthorization")]


CALL = """
import json, sys, dbus, dbus.bus
address, path, interface, member, signature, arguments, timeout = sys.argv[1:8]
connection = dbus.bus.BusConnection(address)
print(connection.get_unique_name(), flush=True)
try:
    value = connection.call_blocking("org.memcgprof1", path, interface or None, member, signature, json.loads(arguments), timeout=float(timeout))
    print(json.dumps([None, str(value)]))
except dbus.DBusException as e:
    print(json.dumps([e.get_dbus_name(), e.get_dbus_message()]))
"""


class Call:
    """One call by a user of that number, sent when this is made; its answer is waited for by result(). The number must be one
    that the machine knows, or the bus lets nobody in."""

    def __init__(self, bus, path, interface, member, signature="a{sv}", *arguments, uid=65534, timeout=60):
        command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", sys.executable, "-c", CALL]
        self.process = subprocess.Popen([*command, bus.address, path, interface, member, signature, json.dumps(arguments or [{}]),
                                         str(timeout)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.name = self.process.stdout.readline().strip()

    def result(self):
        """(error's name or None, its message or what was returned)"""
        text = self.process.stdout.readline()
        self.process.wait()
        self.process.stdout.close()
        return tuple(json.loads(text))

    def leave(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__" and sys.argv[1:2] == ["--serve"]:
    serve(*sys.argv[2:])
