"""The other side of fail_nth.c: what it is to do, and what it has seen."""

import mmap
import struct

KINDS = ("alloc", "mmap", "thread", "open", "read", "write", "socket", "accept", "epoll", "receive",
         "send", "random")
FIELDS = ("kinds", "fail_first", "fail_last", "calls", "failed", "live", "wall_offset_s",
          "has_callers")
CALLERS_BYTES = 4032
FOR_EVER = 2**63


class Control:
    """The shared file. Fields are attributes, written and read at once."""

    def __init__(self, path):
        path.write_bytes(b"\0" * (8 * len(FIELDS) + CALLERS_BYTES))
        with open(path, "r+b") as f:
            object.__setattr__(self, "_map", mmap.mmap(f.fileno(), 0))

    def __getattr__(self, name):
        return struct.unpack_from("<q", self._map, 8 * FIELDS.index(name))[0]

    def __setattr__(self, name, value):
        struct.pack_into("<q", self._map, 8 * FIELDS.index(name), value)

    def arm(self, kind, first, last=None):
        """Count calls of a kind from now, and let those from `first` to `last` fail; 0: none."""
        self.kinds = self.calls = self.failed = self.has_callers = 0
        self.fail_first, self.fail_last = first, last or first
        self.kinds = 1 << KINDS.index(kind)

    def disarm(self):
        """Let all calls through. Returns how many were counted and how many failed."""
        self.kinds = 0
        return self.calls, self.failed

    def callers(self):
        """Who made the first call that failed, innermost first: ["module+0xoffset", ...]."""
        text = self._map[8 * len(FIELDS):].split(b"\0")[0].decode()
        return text.split() if self.has_callers else []
