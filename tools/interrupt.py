"""Ctrl-C ends a tool with a line and exit status 130, as a shell expects, and without a traceback."""

import sys


def install():
    """For every program of this package, from its first import on. What somebody catches is theirs."""
    before = sys.excepthook

    def hook(kind, error, trace):
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
            return
        print("\nstopped by Ctrl-C", file=sys.stderr)
        raise SystemExit(130)

    sys.excepthook = hook
