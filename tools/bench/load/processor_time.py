"""Whose the processor's time is while requests of one step are served: samples of all stacks, by
Linux's perf (`apt-get install linux-perf`, as root)."""

import bisect
import collections
import re
import shutil
import subprocess
import tempfile

from tools.bench.load import one_step
from tools.bench.load.daemon import BINARY
from tools.bench.page import table

HZ = 997  # a prime, lest samples keep step with a timer
STACK_BYTES = 16384

# Of the functions on a stack the innermost of the program's own tells whose time it is, for what
# libraries and the kernel do for it as well. The first pattern that its file matches counts.
NETWORK = "network and sampler"
SCHEDULING = "scheduling, to the workers and back"
CLIENT = "the client, `wrk`"
OWNERS = [
    (NETWORK, r"core/"),
    ("PNG, its text, SHA-256", r"api/(png|image|document\w*)\.c|server/drawing/forms\.c"),
    (SCHEDULING, r"server/scheduling/"),
    ("connections: HTTP library, event loop, sockets", r"/(http|connection|server)\.c"),
    ("the request: parsing, parameters, answer, accounts", r""),
]
EVERYBODYS = re.compile(r"api/(text|unicode)\.c")  # passed over in favour of who called


def functions(binary):
    """[(address, file)] of a program of ours, by address."""
    lines = subprocess.run(["nm", "-n", "-l", "--defined-only", binary], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    found = (re.match(r"([0-9a-f]+) [tT] \S+\t.*?((?:core|api|server)/\S+\.c):", line)
             for line in lines)
    return [(int(f[1], 16), f[2]) for f in found if f]


def owner(files):
    """`files` of the program's own functions on a stack, the innermost first."""
    own = [f for f in files if not EVERYBODYS.search(f)]
    if not own:
        return SCHEDULING  # a thread of the pool between two items
    return next(name for name, pattern in OWNERS if re.search(pattern, own[0]))


def stacks(text):
    """(command, pid, [(address, object)]) of each sample that `perf script` printed."""
    for block in text.split("\n\n"):
        head, *lines = block.strip().splitlines() or [""]
        frames = [re.match(r"\s*([0-9a-f]+) .*?\((\S+)\)$", line) for line in lines]
        if head:
            command, pid = head.split()[:2]
            yield command, pid, [(int(f[1], 16), f[2]) for f in frames if f]


def owners(text, known, pid):
    """Samples of each owner. `known` is what functions() says."""
    addresses = [address for address, _ in known]
    count = collections.Counter()
    for command, process, frames in stacks(text):
        if process == str(pid):
            count[owner([known[bisect.bisect_right(addresses, address) - 1][1]
                         for address, where in frames if where == str(BINARY)])] += 1
        elif command == "wrk":
            count[CLIENT] += 1
    return count


def measure(fast, seconds):
    if not shutil.which("perf"):
        raise SystemExit("perf is not there: apt-get install linux-perf")
    with one_step.daemon(fast) as d, tempfile.NamedTemporaryFile() as samples:
        served = one_step.ask(d, fast, 1, seconds, under=[
            "perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", str(HZ), "--call-graph",
            f"dwarf,{STACK_BYTES}", "-o", samples.name, "--"])
        text = subprocess.run(["perf", "script", "-i", samples.name, "-F", "comm,pid,ip,sym,dso",
                               "--no-inline"], capture_output=True, text=True, check=True).stdout
        count = owners(text, functions(BINARY), d.process.pid)
    us = 1e6 / HZ / served["requests"]
    return {"images_per_s": served["per_s"], "us": {name: n * us for name, n in count.items()}}


def render(part):
    us = part["us"]
    names = [name for name, _ in OWNERS] + [CLIENT]
    total = sum(us.values())
    rows = [[name, f"{us.get(name, 0):.0f}", f"{100 * us.get(name, 0) / total:.0f} %"]
            for name in names]
    return table(["", "us a request", ""], rows + [["all", f"{total:.0f}", ""]])
