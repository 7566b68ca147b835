# SPDX-License-Identifier: LGPL-2.1-or-later
"""TAP for tests: one result per case, and nothing is lost on the way.

An exception fails its case with the traceback as diagnostics, the rest goes on; Skip needs a reason; a file that ran no case at
all fails, because silence must never look like success.
"""

import signal
import sys
import traceback


class Skip(Exception):
    """Raised by a case, or before any: this cannot run here, because of the given reason."""


class Failure(Exception):
    """What check() raises: a sentence, shown without a traceback."""


class Tap:
    def __init__(self):
        self.n = 0
        self.failed = 0

    @staticmethod
    def diag(text):
        for line in str(text).splitlines():
            print("#", line.encode("ascii", "backslashreplace").decode(), flush=True)

    def result(self, ok, name, directive=""):
        self.n += 1
        self.failed += not ok
        clean = name.replace("#", "").replace("\n", " ")
        print(f"{'ok' if ok else 'not ok'} {self.n} - {clean}{directive}", flush=True)

    def skip(self, name, reason):
        self.result(True, name, f" # SKIP {reason}")

    def case(self, name, function, *args, **kwargs):
        """Runs one case. Returns what the function returned, or None when it failed or was skipped."""
        try:
            value = function(*args, **kwargs)
        except Skip as e:
            self.skip(name, str(e) or "no reason given")
            return None
        except Failure as e:
            self.result(False, name)
            self.diag(e)
            return None
        except Exception:  # the case failed, whatever it was; KeyboardInterrupt and SystemExit go through
            self.result(False, name)
            self.diag(traceback.format_exc())
            return None
        self.result(True, name)
        return value

    def finish(self):
        print(f"1..{self.n}", flush=True)
        return 1 if self.failed or self.n == 0 else 0


def check(condition, sentence):
    """Fails the running case with `sentence` unless `condition` holds."""
    if not condition:
        raise Failure(sentence)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def hear_signals():
    """What whoever started us had ignored (nohup, a shell's background) our children would ignore too."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def main(function):
    """Runs function(tap) as a whole test file. A Skip or an exception outside any case counts as one result."""
    hear_signals()
    tap = Tap()
    try:
        function(tap)
    except Skip as e:
        if tap.n == 0:
            print(f"1..0 # SKIP {e}", flush=True)
            sys.exit(0)
        tap.skip("the rest of this file", str(e))
    except Exception:
        tap.result(False, "the test file ran to its end")
        tap.diag(traceback.format_exc())
    sys.exit(tap.finish())
