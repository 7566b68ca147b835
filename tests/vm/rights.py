#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what on a machine: real users, the system bus with the shipped policy, a real polkitd with the shipped actions. Runs in a
guest of the rig; skips on any other machine, and where polkitd is missing."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time

from bus import MANAGER, NAME, PATH, PROFILE
from container import need_root
from proc import PATIENCE, eventually, need, run
from system import UNIT, command
from tap import Failure, Skip, check, equal, main

POLKITD = "/usr/lib/polkit-1/polkitd"
POLKIT = "polkit.service"
ACTIVATION = "/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service"
RULES = "/etc/polkit-1/rules.d/10-memcgprof-test.rules"
HOST = "/org/memcgprof1/host"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
REFUSALS = {DENIED, "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}
ANSWER_SECONDS = 10  # as polkit.c has it

# The inspector may look at everything but stacks; the starter may start, and nothing else, by the details of the question.
RULE = """
polkit.addRule(function(action, subject) {
    if (action.id == "org.memcgprof1.inspect" && subject.user == "inspector")
        return polkit.Result.YES;
    if (action.id == "org.memcgprof1.inspect-stacks" && subject.user == "analyst")
        return polkit.Result.YES;
    if (action.id == "org.memcgprof1.manage" && subject.user == "starter" && action.lookup("member") == "StartProfile")
        return polkit.Result.YES;
});
"""

# As a user: every call in turn, its error's name or null, and its message or what it returned.
CALLS = """
import json, sys, time, dbus
bus = dbus.SystemBus()
M, P, S, O = "org.memcgprof1.Manager", "org.memcgprof1.Profile", "org.freedesktop.DBus.Properties", "org.freedesktop.LogControl1"
R, H, E = "/org/memcgprof1", "/org/memcgprof1/host", dbus.Dictionary({}, signature="sv")
calls = {
    "StartProfile": (R, M, "sa{sv}", "host", E), "SetMode": (R, M, "sa{sv}", "multi", E), "GetProfile": (R, M, "sa{sv}", "host", E),
    "ListProfiles": (R, M, "a{sv}", E), "DescribeSupport": (R, M, "a{sv}", E), "GetSummary": (H, P, "a{sv}", E), "GetSites": (H, P, "a{sv}", E),
    "Dump": (H, P, "sa{sv}", "summary", E), "Dump stacks": (H, P, "sa{sv}", "stacks", E), "Reset": (H, P, "a{sv}", E),
    "RegisterContainer": (R, M, "sa{sv}", "x", E), "ContainerStopped": (R, M, "sa{sv}", "x", E),
    "Set Mode": (R, S, "ssv", M, "Mode", "off"), "Set LogLevel": ("/org/freedesktop/LogControl1", S, "ssv", O, "LogLevel", "emerg"),
    "StopProfile": (R, M, "oa{sv}", dbus.ObjectPath(H), E), "Get Mode": (R, S, "ss", M, "Mode"), "GetAll": (H, S, "s", P),
    "GetStacks": (H, P, "a{sv}", E), "CaptureStacks": (H, P, "ba{sv}", True, E), "SetStacks": (H, P, "sa{sv}", "all", E),
    "GetManagedObjects": (R, "org.freedesktop.DBus.ObjectManager", ""), "Introspect": (H, "org.freedesktop.DBus.Introspectable", ""),
}
answers = {}
for name in sys.argv[1:] or calls:
    path, interface, signature, *arguments = calls[name]
    begin = time.monotonic()
    try:
        value = bus.call_blocking("org.memcgprof1", path, interface, name.split()[0], signature, arguments, timeout=100)
        answers[name] = [None, str(value), time.monotonic() - begin]
    except dbus.DBusException as e:
        answers[name] = [e.get_dbus_name(), e.get_dbus_message(), time.monotonic() - begin]
print(json.dumps(answers))
"""
LOOKS = {"Get Mode", "GetAll", "GetManagedObjects", "Introspect"}
INSPECTS = {"GetProfile", "ListProfiles", "DescribeSupport", "GetSummary", "GetSites", "Dump"}


def as_user(name, *words):
    user = pwd.getpwnam(name)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--inh-caps=-all", *words]


def calls(name, *which):
    done = run(as_user(name, sys.executable, "-c", CALLS, *which), seconds=120)
    if done.returncode != 0:
        raise Failure(f"the caller's own failure: {done.stderr}")
    return json.loads(done.stdout)


def allowed(answers):
    """Those that were not refused by the bus, by polkit or by the daemon."""
    return {name for name, (error, *_) in answers.items() if error not in REFUSALS}


def unchanged():
    mode = json.loads(command("busctl", "--json=short", "get-property", NAME, PATH, MANAGER, "Mode"))["data"]
    equal(mode, "auto", "Mode afterwards")
    state = json.loads(command("busctl", "--json=short", "get-property", NAME, HOST, PROFILE, "State"))["data"]
    equal(state, "active", "the host's profile afterwards")


def polkit_knows():
    for action in ("manage", "inspect", "inspect-stacks"):
        text = command("pkaction", "--verbose", "--action-id", f"{NAME}.{action}")
        for word in ("any", "inactive", "active"):
            check(f"implicit {word}:" in text and text.count("auth_admin_keep") == 3, text)


def stranger():
    answers = calls("stranger")
    equal(allowed(answers), LOOKS, "what a user without rights may")
    unchanged()
    return answers


def inspector():
    """Granted by a rules file: to look, and that is all."""
    answers = calls("inspector")
    equal(allowed(answers), LOOKS | INSPECTS, "what the inspector may")
    for name in INSPECTS:
        equal(answers[name][0], None, f"{name}: {answers[name][1]}")
    check("memcgprof.summary" in answers["GetSummary"][1], "no summary")
    equal(json.loads(run(as_user("inspector", "memcgprof", "show", "--json", "host")).stdout)["format"], "memcgprof.summary", "the command line")
    done = run(as_user("inspector", "memcgprof", "stop", "host"))
    check(done.returncode == 1 and "StopProfile" in done.stderr, f"memcgprof stop: {done.stderr}")
    unchanged()


def narrow():
    equal(allowed(calls("analyst")), LOOKS | {"Dump stacks"}, "what the analyst may")
    answers = calls("starter")
    equal((allowed(answers), answers["StartProfile"][0]), (LOOKS | {"StartProfile"}, None), "what the starter may")
    unchanged()


def root():
    answers = calls("root", "GetProfile", "ListProfiles", "DescribeSupport", "GetSummary", "GetSites", "Dump", "SetMode", "StartProfile", "Reset")
    bad = {name: a[1] for name, a in answers.items() if a[0] and not (name == "Reset" and "record" in a[1])}
    equal(bad, {}, "what root may not")
    command("busctl", "set-property", NAME, PATH, MANAGER, "Mode", "s", "auto")


def silent():
    """polkitd under SIGSTOP: who is asked about waits, and nobody else."""
    pid = int(command("systemctl", "show", "--value", "--property", "MainPID", POLKIT))
    os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        waiting = subprocess.Popen(as_user("inspector", sys.executable, "-c", CALLS, "GetSummary"), stdout=subprocess.PIPE, text=True)
        for _ in range(10):
            seconds = max(a[2] for a in calls("root", "ListProfiles", "GetSummary").values())
            check(seconds < 5 * PATIENCE, f"root waited {seconds:.1f} s")
            check(calls("stranger", "Get Mode")["Get Mode"][0] is None, "a property")
        check(waiting.poll() is None or time.monotonic() - begin > ANSWER_SECONDS - 1, "the inspector did not wait")
        error, text, seconds = json.loads(waiting.communicate()[0])["GetSummary"]
        equal(error, DENIED, text)
        check("did not answer" in text and ANSWER_SECONDS - 2 < seconds < ANSWER_SECONDS + 5 * PATIENCE, f"after {seconds:.1f} s: {text}")
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: calls("inspector", "GetSummary")["GetSummary"][0] is None, 30, "the inspector may again")


def absent():
    """Masked, and then as if it were not installed: root only, without a wait."""
    os.rename(ACTIVATION, ACTIVATION + ".away")
    try:
        command("systemctl", "mask", "--runtime", "--now", POLKIT)
        command("busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
        for user in ("inspector", "stranger"):
            answers = calls(user)
            equal(allowed(answers), LOOKS, f"what the {user} may without polkit")
            check(max(a[2] for a in answers.values()) < 5 * PATIENCE, "somebody waited")
        check("no polkit" in answers["GetSummary"][1], answers["GetSummary"][1])
        root()
    finally:
        os.rename(ACTIVATION + ".away", ACTIVATION)
        command("busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
    # There, and it cannot be started.
    equal(calls("inspector", "GetSummary")["GetSummary"][0], DENIED, "polkit that cannot be started")
    command("systemctl", "unmask", "--runtime", POLKIT)
    eventually(lambda: calls("inspector", "GetSummary")["GetSummary"][0] is None, 30, "the inspector may again")


def hook_without_rights():
    """As a rootless engine runs it: the shipped policy refuses the call, and the container starts."""
    state = json.dumps({"ociVersion": "1.0.2", "id": "box", "status": "creating", "pid": os.getpid(), "bundle": "/x",
                        "annotations": {"org.memcgprof.profile": "auto"}})
    for status in ("creating", "stopped"):
        done = run(as_user("stranger", "/usr/libexec/memcgprof-hook"), input=state.replace("creating", status))
        equal((done.returncode, done.stdout, done.stderr.count("\n")), (0, "", 1), f"the hook says {done.stderr}")
        check(done.stderr.startswith("memcgprof-hook: box: "), done.stderr)


def cases(tap):
    need_root()
    if not os.path.exists("/payload/run"):
        raise Skip("only in a guest of the test rig: it makes users and rules")
    if not os.path.exists(POLKITD):
        raise Skip("polkitd is not in the rig's root file system")
    need("setpriv", "useradd", "pkaction")
    for name in ("stranger", "inspector", "analyst", "starter"):
        command("useradd", name)
    with open(RULES, "w", encoding="ascii") as f:
        f.write(RULE)
    os.chmod(RULES, 0o644)
    command("systemctl", "restart", UNIT, POLKIT)
    command("busctl", "call", NAME, PATH, MANAGER, "StartProfile", "sa{sv}", "host", "0")
    tap.case("polkit knows the actions", polkit_knows)
    tap.case("a user without rights reads neither sites nor stacks and switches nothing", stranger)
    tap.case("a user who may inspect does that, and nothing else", inspector)
    tap.case("rules for stacks, and for one method", narrow)
    tap.case("root may", root)
    tap.case("polkitd under SIGSTOP holds up nobody else", silent)
    tap.case("without polkit, root only", absent)
    tap.case("the hook of a user without rights lets the container start", hook_without_rights)
    command("systemctl", "stop", UNIT)


if __name__ == "__main__":
    main(cases)
