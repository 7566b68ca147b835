# SPDX-License-Identifier: LGPL-2.1-or-later
"""Typed calls on the bus, errors by their names, and what changes."""

import json

import dbus
import dbus.bus

import bus as harness
from bus import MANAGER, NAME, PATH, PROFILE, Signals
from tap import Failure, check, equal

PROPERTIES = "org.freedesktop.DBus.Properties"
ERROR = "org.memcgprof1.Error."
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"


class Client:
    """Typed calls. An error reply is a dbus.DBusException."""

    def __init__(self, bus):
        self.connection = dbus.bus.BusConnection(bus.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def call(self, path, interface, member, signature, *arguments):
        return self.connection.call_blocking(NAME, path, interface, member, signature, arguments, timeout=60)

    def manager(self, member, *arguments, options=None):
        signature = {"StopProfile": "oa{sv}", "ListProfiles": "a{sv}", "DescribeSupport": "a{sv}"}.get(member, "sa{sv}")
        return self.call(PATH, MANAGER, member, signature, *arguments, dbus.Dictionary(options or {}, signature="sv"))

    def start(self, target, spec=None):
        """StartProfile of a Group, or of a target by words. Returns the object."""
        target = target if isinstance(target, str) else f"cgroup:{target.path}"
        return str(self.manager("StartProfile", target, options={"spec": spec} if spec else {}))

    def stop(self, *paths):
        for path in paths:
            self.manager("StopProfile", dbus.ObjectPath(path))

    def effective(self):
        """The mode that is in force."""
        return str(self.get(PATH, MANAGER, "EffectiveMode"))

    def profile(self, path, member, *arguments, filter=None):
        signature = "sa{sv}" if member == "Dump" else "a{sv}"
        return self.call(path, PROFILE, member, signature, *arguments, dbus.Dictionary(filter or {}, signature="sv"))

    def get(self, path, interface, name):
        return self.call(path, PROPERTIES, "Get", "ss", interface, name)

    def get_all(self, path, interface):
        return self.call(path, PROPERTIES, "GetAll", "s", interface)

    def set(self, path, interface, name, value):
        return self.call(path, PROPERTIES, "Set", "ssv", interface, name, value)

    def live_bytes(self, path):
        return int(self.get(path, PROFILE, "LiveBytes"))

    def paths(self):
        """Object paths of all profiles that somebody started, as ListProfiles gives them."""
        return [str(path) for path, *_, more in self.manager("ListProfiles") if "kernel" not in more["requesters"]]

    def has_record(self):
        """The host's profile is the kernel's own record: it is always there, and no business of modes."""
        return len(self.paths()) < len(self.manager("ListProfiles"))


def refused(error, words, function, *arguments, **keywords):
    """Calls and requires the error of that name, its message naming all of `words`, one sentence and one line."""
    try:
        function(*arguments, **keywords)
    except dbus.DBusException as e:
        message = e.get_dbus_message()
        equal(e.get_dbus_name(), error, f"error name (message: {message})")
        for word in [words] if isinstance(words, str) else words:
            check(word in message, f"the message does not name {word!r}: {message!r}")
        check("\n" not in message and len(message) <= 1100, f"not one bounded line: {message!r}")
        return message
    raise Failure(f"no error, wanted {error}")


class Changes(Signals):
    """PropertiesChanged of all objects."""

    def __init__(self, bus):
        super().__init__(bus, "PropertiesChanged")

    def __enter__(self):
        # The harness matches the manager's own interface; the standard one has the same form.
        interface, harness.MANAGER = harness.MANAGER, PROPERTIES
        try:
            return super().__enter__()
        finally:
            harness.MANAGER = interface

    def next(self, seconds=10):
        """(path, {property: value}) of the next one."""
        while True:
            message = json.loads(self._read_until(self.process.stdout, b"\n", seconds))
            if message.get("member") != self.member:
                continue
            _, changed, invalidated = message["payload"]["data"]
            equal(invalidated, [], "invalidated")
            return message["path"], {k: v["data"] for k, v in changed.items()}

    def expect(self, *wanted):
        for path, values in wanted:
            equal(self.next(), (path, values), "PropertiesChanged")
