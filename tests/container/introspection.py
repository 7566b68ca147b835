#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The interface files in schemas/ say what the daemon says of itself: members, types, names of arguments, change signals."""

import os
import xml.etree.ElementTree as ET

from bus import NAME, PATH, PROFILE, Bus
from container import Container, hook_entry, need_containers
from daemon import Daemon
from proc import SOURCE
from tap import check, equal, main

EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def members(interface):
    """Everything that callers can rely on, comparable."""
    found = set()
    for node in interface:
        arguments = tuple((a.get("name"), a.get("type"), a.get("direction")) for a in node.findall("arg"))
        emits = {a.get("value") for a in node.findall("annotation") if a.get("name") == EMITS} or {"true"}
        if node.tag == "method" or node.tag == "signal":
            found.add((node.tag, node.get("name"), arguments))
        elif node.tag == "property":
            found.add((node.tag, node.get("name"), node.get("type"), node.get("access"), emits.pop()))
    return found


def signal_directions(found):
    """Arguments of signals may or may not carry a direction: it is always out."""
    return {m if m[0] != "signal" else (m[0], m[1], tuple((n, t, None) for n, t, _ in m[2])) for m in found}


def interface_of(root, name):
    for interface in root.findall("interface"):
        if interface.get("name") == name:
            return signal_directions(members(interface))
    check(False, f"there is no interface {name}")
    return None


def same(bus, path, name):
    said = ET.fromstring(bus.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")[0])
    file = ET.parse(os.path.join(SOURCE, "schemas", f"{name}.xml")).getroot()
    daemon, written = interface_of(said, name), interface_of(file, name)
    check(written, "the file has no member")
    check(daemon == written, f"only the daemon: {sorted(daemon - written)}\nonly the file: {sorted(written - daemon)}")


def enumerated(bus, path):
    """A profile is found by introspection alone, and by ObjectManager."""
    tree = bus.busctl("tree", "--list", NAME)
    check(path in tree.split(), f"{path} is not in the tree: {tree}")
    managed = bus.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0]
    check(PROFILE in managed.get(path, {}), f"{path} is not among the managed objects: {list(managed)}")


def gone(bus, path):
    managed = bus.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0]
    check(path not in managed, f"{path} is still there")


def tests(tap):
    need_containers()
    with Bus() as bus, Daemon(bus):
        tap.case("org.memcgprof1.Manager is as its file says", same, bus, PATH, "org.memcgprof1.Manager")
        hook = hook_entry(bus.address)
        with Container(hooks={"createRuntime": [hook]}, annotations={"org.memcgprof.profile": "auto"}) as box:
            box.start()
            path = bus.profile_of(f"container:{box.id}")
            tap.case("org.memcgprof1.Profile is as its file says", same, bus, path, "org.memcgprof1.Profile")
            tap.case("a profile is found in the tree", enumerated, bus, path)
            tap.case("a property tells the container's id", equal, bus.property(path, PROFILE, "Id"), box.id, "Id")
            bus.manager("StopProfile", "oa{sv}", path, 0)
            tap.case("a stopped profile is gone from the tree", gone, bus, path)
            box.end()


main(tests)
