#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may call what: the table, what polkit is asked, and what happens when it answers late, wrong, or never. The bus of these
tests lets everybody through; what the shipped policy does is in access.py, a real polkit in the rig's rights.py."""

import os
import re
import time
import xml.etree.ElementTree as ElementTree

from authority import Authority, Call
from bus import MANAGER, NAME, PATH, PROFILE, Bus
from client import DENIED, ERROR, PROPERTIES, Client
from group import Group
from proc import SOURCE, Scratch, eventually, need, need_root, run
from tap import check, equal, main

from fake import ROWS, Fake

ACTIONS = [f"{NAME}.{a}" for a in ("manage", "inspect", "inspect-stacks")]
INTERACTIVE = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
UNKNOWN_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"
ANSWER_SECONDS = 10  # as polkit.c has it
USER_QUESTIONS = 8
WHO = (65534, 1)  # users that every machine knows


def source(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as f:
        return f.read()


def table():
    """The rows of rights.c: {(interface, member): action}, and those of an argument: {(interface, member, argument): action}."""
    text = source("daemon/rights.c")
    names = dict(re.findall(r'^#define (\w+) "([\w.-]+)"$', text, re.M))
    rows = re.findall(r'\{BUS_INTERFACE_(\w+), "(\w+)", (\w+)(?:, "(\w+)", (\w+))?\},', text)
    check(len(rows) >= 10, f"the table of rights.c is not what this reads: {rows}")
    interface = {"MANAGER": MANAGER, "PROFILE": PROFILE}
    whole = {(interface[i], m): names[a] for i, m, a, _, _ in rows}
    arguments = {(interface[i], m, word): names[its] for i, m, _, word, its in rows if word}
    return whole, arguments


def unprivileged(t):
    """Methods that sd-bus lets everybody call."""
    found = set()
    for path, interface in ((PATH, MANAGER), (t.path, PROFILE)):
        xml = ElementTree.fromstring(t.client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect", ""))
        node, = [i for i in xml.findall("interface") if i.get("name") == interface]
        for method in node.findall("method"):
            notes = {a.get("name"): a.get("value") for a in method.findall("annotation")}
            if notes.get("org.freedesktop.systemd1.Privileged") != "true":
                found.add((interface, method.get("name")))
        for p in node.findall("property"):
            notes = {a.get("name"): a.get("value") for a in p.findall("annotation")}
            check(p.get("access") == "read" or notes.get("org.freedesktop.systemd1.Privileged") == "true", f"everybody may set {p.get('name')}")
    return found


def one_definition(t):
    """The table, the vtables, the bus policy, the actions and the manual page say the same."""
    rights, arguments = table()
    hooks = {(MANAGER, "RegisterContainer"), (MANAGER, "ContainerStopped")}  # asked for by themselves: their caller may have gone
    equal(unprivileged(t) - hooks, set(rights), "methods that sd-bus itself does not keep for root")
    policy = ElementTree.parse(os.path.join(SOURCE, "daemon/org.memcgprof1.conf")).getroot()
    default, = [p for p in policy.findall("policy") if p.get("context") == "default"]
    let = {(r.get("send_interface"), r.get("send_member")) for r in default if r.tag == "allow" and r.get("send_interface", "").startswith(NAME)}
    equal(let, set(rights), "what the bus lets through")
    actions = ElementTree.parse(os.path.join(SOURCE, "daemon/org.memcgprof1.policy")).getroot()
    shipped = {a.get("id"): {d.text for d in a.find("defaults")} for a in actions.findall("action")}
    equal(shipped, {a: {"auth_admin_keep"} for a in ACTIONS}, "actions and their defaults")
    equal({*rights.values(), *arguments.values()}, set(ACTIONS), "actions of the table")
    page = source("docs/org.memcgprof1.5").split(".SH RIGHTS", 1)[1].split(".SH ", 1)[0]
    page = re.sub(r"\\f[BIR]", "", page.replace("\\-", "-"))
    written = {}
    for action, words in re.findall(r"^\.TP\n\.B (\S+)\n(.*?)(?=^\.TP|\Z|^\.PP)", page, re.M | re.S):
        written[action] = set(re.findall(r"[A-Z]\w+(?:\(\w+\))?", words))
    wanted = {a: {m for (_, m), action in rights.items() if action == a} | {f"{m}({w})" for (_, m, w), action in arguments.items() if action == a}
              for a in ACTIONS}
    equal(written, wanted, "the manual page")


def calls(t):
    """Every method of the table, with arguments that can be served: (interface, member, path, signature, arguments, action)."""
    rights, arguments = table()
    values = {
        "StartProfile": ("sa{sv}", f"cgroup:{t.group.path}", {}), "StopProfile": ("oa{sv}", t.path, {}), "SetMode": ("sa{sv}", "auto", {}),
        "GetProfile": ("sa{sv}", f"cgroup:{t.group.path}", {}), "Dump": ("sa{sv}", "summary", {}),
    }
    for (interface, member), action in rights.items():
        signature, *words = values.get(member, ("a{sv}", {}))
        yield interface, member, PATH if interface == MANAGER else t.path, signature, words, action
    for (interface, member, word), action in arguments.items():
        yield interface, member, t.path, "sa{sv}", [word, {}], action


def call(t, member, *arguments, signature="a{sv}", **more):
    """By a stranger, on the profile or the manager."""
    manager = member in ("StartProfile", "StopProfile", "SetMode", "GetProfile", "ListProfiles", "DescribeSupport", "RegisterContainer",
                         "ContainerStopped")
    return Call(t.bus, PATH if manager else t.path, MANAGER if manager else PROFILE, member, signature, *arguments, **more)


def absent(t):
    """Without polkit: root only."""
    for interface, member, path, signature, words, _ in calls(t):
        error, text = Call(t.bus, path, interface, member, signature, *words).result()
        equal(error, DENIED, f"{member}: {text}")
        check("Only root may call" in text and member in text, text)
    equal(t.client.paths(), [t.path], "profiles afterwards")
    t.client.profile(t.path, "GetSummary")


def asked(t):
    """For every method: the question, and its answer is obeyed; root is not asked about."""
    with Authority(t.bus, t.scratch) as polkit:
        for word, wanted in (("no", DENIED), ("challenge", INTERACTIVE), ("yes", None)):
            polkit.answer(word)
            for interface, member, path, signature, words, action in calls(t):
                one = Call(t.bus, path, interface, member, signature, *words)
                error, text = one.result()
                if (member, words[0]) == ("Dump", "stacks") and word == "yes":
                    equal(error, ERROR + "NotSupported", "what the method itself says to stacks")
                else:
                    equal(error, wanted, f"{member} {words}, polkit says {word}: {text}")
                check(error is None or error.startswith(ERROR) or action in text and member in text, f"the sentence names neither: {text}")
                (name, asked_action, details, flags, _), = polkit.questions()
                equal((name, asked_action, flags), (one.name, action, 0), f"the question about {member}")
                equal(details, {"member": member, "object": path}, "details")
                if member == "StopProfile" and word == "yes":
                    equal(t.client.paths(), [], "the profile was not stopped")
                    t.begin()
                else:
                    equal(t.client.paths(), [t.path], f"profiles after {member}")
        for interface, member, path, signature, words, _ in calls(t):
            if member not in ("StopProfile", "Dump"):
                t.client.call(path, interface, member, signature, *words)
        equal(polkit.questions(), [], "questions about root")


def interactive(t):
    """Who allows a dialogue gets one."""
    with Authority(t.bus, t.scratch) as polkit:
        for allowed, flags in (("yes", 1), ("no", 0)):
            done = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "busctl", f"--address={t.bus.address}",
                        f"--allow-interactive-authorization={allowed}", "call", NAME, t.path, PROFILE, "GetSummary", "a{sv}", "0"])
            check(done.returncode != 0, "not denied")
            equal([q[3] for q in polkit.questions()], [flags], f"flags when interaction is allowed: {allowed}")


def roots_own(t):
    """What nobody but root may do, whatever polkit would say, is not asked about: a hook must not wait."""
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("yes")
        begin = time.monotonic()
        for member, options in (("RegisterContainer", {"cgroup": t.group.path}), ("ContainerStopped", {})):
            equal(call(t, member, "x", options, signature="sa{sv}").result()[0], DENIED, member)
        for path, interface, name, value in ((PATH, MANAGER, "Mode", "off"), ("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel", "emerg")):
            equal(Call(t.bus, path, PROPERTIES, "Set", "ssv", interface, name, value).result()[0], DENIED, name)
        # Without an interface a call is no way around: sd-bus knows no such calls.
        error, text = Call(t.bus, t.path, "", "GetSummary").result()
        check(error, f"a call without an interface was answered: {text}")
        check(time.monotonic() - begin < 5, "somebody waited")
        equal(polkit.questions(), [], "questions")
        equal(str(t.client.get(PATH, MANAGER, "Mode")), "auto", "Mode afterwards")


def never(t):
    """polkit that says nothing holds up nobody else, and its silence is a no."""
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("later")
        begin = time.monotonic()
        waiting = call(t, "GetSummary")
        (*_, serial), = eventually(polkit.questions, 5, "no question")
        for _ in range(20):
            started = time.monotonic()
            t.client.profile(t.path, "GetSummary")
            check(time.monotonic() - started < 1, "root waits for a stranger's polkit")
        error, text = waiting.result()
        seconds = time.monotonic() - begin
        equal(error, DENIED, text)
        check("did not answer" in text, text)
        check(ANSWER_SECONDS - 1 < seconds < ANSWER_SECONDS + 5, f"the stranger waited {seconds:.1f} s")
        eventually(lambda: polkit.taken_back() == [serial], 5, "the question was not taken back")
        polkit.release("yes")  # nobody listens any more
        polkit.answer("no")
        equal(call(t, "GetSummary").result()[0], DENIED, "the late yes is nobody's")


def caller_left(t):
    """The caller is gone before the answer: nothing is done in its name."""
    with Authority(t.bus, t.scratch) as polkit, Group() as other:
        polkit.answer("later")
        caller = call(t, "StartProfile", f"cgroup:{other.path}", {}, signature="sa{sv}")
        (*_, serial), = eventually(polkit.questions, 5, "no question")
        caller.leave()
        eventually(lambda: polkit.taken_back() == [serial], 5, "the question was not taken back")
        polkit.release("yes")
        polkit.answer("no")
        call(t, "GetSummary").result()  # behind the answer
        equal(t.client.paths(), [t.path], "profiles")


def not_understood(t):
    with Authority(t.bus, t.scratch) as polkit:
        for word in ("nothing", "text", "short", "flat", "long", "numbers"):
            polkit.answer(f"malformed {word}")
            error, text = call(t, "GetSummary").result()
            equal(error, DENIED, f"{word}: {text}")
            check("not understood" in text, text)
        polkit.answer("Action org.memcgprof1.inspect is not \x1b[31mregistered\nforged: line " + "x" * 5000)
        error, text = call(t, "GetSummary").result()
        equal(error, DENIED, text)
        check("is not \\x1b[31mregistered\\x0aforged" in text and len(text) < 600, f"polkit's words as they are: {text!r}")


def object_gone(t):
    """What was asked about is gone when the yes comes."""
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("later")
        waiting = call(t, "GetSummary")
        eventually(polkit.questions, 5, "no question")
        t.client.stop(t.path)
        polkit.release("yes")
        equal(waiting.result()[0], UNKNOWN_OBJECT, "a profile that is gone")
        t.begin()


def one_yes_one_call(t):
    """Nothing is remembered; answers that cross reach the calls that they are for."""
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("yes")
        equal(call(t, "GetSummary").result()[0], None, "yes")
        polkit.answer("no")
        equal(call(t, "GetSummary").result()[0], DENIED, "a yes of before")
        polkit.answer("later")
        first = call(t, "GetSummary")
        eventually(polkit.questions, 5, "no question")
        second = call(t, "GetSites")
        eventually(polkit.questions, 5, "no question")
        polkit.release("no", "yes")  # the second one's is "no"
        equal((first.result()[0], second.result()[0]), (None, DENIED), "answers that cross")


def polkit_dies(t):
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("later")
        waiting = call(t, "GetSummary")
        eventually(polkit.questions, 5, "no question")
    error, text = waiting.result()
    equal(error, DENIED, text)
    check("did not answer" in text, text)


def flood(t):
    """One user cannot fill the daemon with calls that wait, nor keep others from asking."""
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("later")
        waiting = [call(t, "GetSummary") for _ in range(USER_QUESTIONS)]
        eventually(lambda: len(polkit.said("CheckAuthorization")) == USER_QUESTIONS, 10, "not all were asked about")
        for _ in range(3):
            error, text = call(t, "GetSummary").result()
            equal(error, ERROR + "Limit", text)
        other = call(t, "GetSummary", uid=WHO[1])
        eventually(lambda: len(polkit.said("CheckAuthorization")) == USER_QUESTIONS + 1, 10, "another user was not asked about")
        t.client.profile(t.path, "GetSummary")
        polkit.release(*["yes"] * (USER_QUESTIONS + 1))
        equal({c.result()[0] for c in [*waiting, other]}, {None}, "those that waited")
        equal(t.daemon.log_text().count("too many wait for polkit: 1 since"), 1, "lines of the log about what was refused")
        polkit.answer("yes")
        equal(call(t, "GetSummary").result()[0], None, "afterwards")


def large(t):
    """A call of megabytes is not kept while polkit thinks."""
    with Authority(t.bus, t.scratch) as polkit:
        polkit.answer("yes")
        for signature, arguments in (("sa{sv}", ["x" * 100000, {}]), ("sa{sv}", ["summary", {f"k{i}": "v" for i in range(3000)}])):
            error, text = call(t, "Dump", *arguments, signature=signature).result()
            equal(error, ERROR + "Limit", text)
        equal(polkit.questions(), [], "questions")
        equal(call(t, "Dump", "summary", {"function": "x" * 200}, signature="sa{sv}").result()[0], None, "a call of a usual size")


class Test:
    def begin(self):
        self.path = str(self.client.manager("StartProfile", f"cgroup:{self.group.path}"))


CASES = (
    ("one table: vtables, bus policy, actions and manual page follow it", one_definition),
    ("without polkit, root only", absent),
    ("what polkit is asked for each method, and its answers", asked),
    ("a dialogue for whom allows one", interactive),
    ("what is root's is not asked about", roots_own),
    ("polkit never answers", never),
    ("the caller has left", caller_left),
    ("answers that are none", not_understood),
    ("the object is gone when the answer comes", object_gone),
    ("one yes is for one call", one_yes_one_call),
    ("polkit dies", polkit_dies),
    ("more calls than may wait", flood),
    ("calls that are too large to wait", large),
)


def tests(tap):
    need_root()
    need("setpriv")
    with Bus() as bus, Fake(bus) as daemon, Client(bus) as client, Group() as group, Scratch() as scratch:
        daemon.write(ROWS)
        t = Test()
        t.bus, t.daemon, t.client, t.group, t.scratch = bus, daemon, client, group, scratch
        t.begin()
        for name, function in CASES:
            tap.case(name, function, t)
        check(daemon.alive(), "the daemon is gone: " + daemon.log_text()[-2000:])


main(tests)
