"""Who takes part: denoised with each of its kernel sets, and its peers. Each answers one question:
how many milliseconds of wall time an image-step (one network evaluation of one image) takes, for so
many images in flight on so many threads.

denoised shares the images out: two threads have half of them each. A peer may split one batch over
two threads or run as two processes with half of the images each; choose() finds out what suits it
best for each number of images, and which of its variants does, and that is what is timed.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHOICE_SECONDS = 0.25


def program(*argv, env=None, text=None):
    """Run to the end; the JSON object that it printed. Raises with what it said on an error."""
    done = subprocess.run([str(a) for a in argv], input=text, capture_output=True, text=True,
                          cwd=ROOT, env={**os.environ, **(env or {})}, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: exit status {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class LineProcess:
    """A process that answers JSON lines with JSON lines."""

    def __init__(self, argv, env=None):
        self.argv = [str(a) for a in argv]
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, cwd=ROOT, env={**os.environ, **(env or {})})

    def send(self, do, **request):
        self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.argv)}: ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, do, **request):
        self.send(do, **request)
        return self.receive()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """`denoised bench` with given flags, a new process each time."""

    def __init__(self, key, title, *flags):
        self.key, self.title, self.flags = key, title, flags
        self.is_slow = key == "scalar"  # the reference, timed for one image
        self.binary = ROOT / "build" / "denoised"

    def bench(self, images, threads, seconds, *more):
        return program(self.binary, "bench", *self.flags, "--batch", images // threads,
                       "--threads", threads, "--seconds", seconds, "--json", *more)

    def can(self, images, threads):
        return images % threads == 0 and not (self.is_slow and (images, threads) != (1, 1))

    def choose(self, images, threads):
        """Nothing to choose."""

    def measure(self, images, threads, seconds):
        told = self.bench(images, threads, seconds)
        return [told["ms_per_image_step" + part] / threads for part in ("_p10", "", "_p90")]

    def sample(self, row, steps, into):
        """Pixels of one image (label, seed, index 0), drawn by DDIM without guidance."""
        label, seed, _index = row
        done = subprocess.run([self.binary, "sample", *self.flags, "--label", str(label), "--seed",
                               str(seed), "--sampler", "ddim", "--steps", str(steps),
                               "--guidance-scale", "1", "-o", str(into)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"denoised sample: {done.stderr.strip()}")

    def close(self):
        pass


class Peer:
    """A process of ours around a library, and a second one where two share the images."""

    def __init__(self, key, title, argv, env=None):
        self.key, self.title, self.argv, self.env = key, title, argv, env
        self.processes = [LineProcess(argv, env)]
        self.told = self.processes[0].ask("variants")
        self.choices = {}  # (images, threads) -> (variant, processes)

    def can(self, images, threads):
        return True

    def ask(self, do, **request):
        return self.processes[0].ask(do, **request)

    def time(self, variant, processes, images, threads, seconds):
        while len(self.processes) < processes:
            self.processes.append(LineProcess(self.argv, self.env))
        at_work = self.processes[:processes]
        for p in at_work:
            p.send("measure", variant=variant, batch=images // processes,
                   threads=threads // processes, seconds=seconds)
        all_ms = [p.receive()["ms"] for p in at_work]
        return [sum(ms) / processes**2 for ms in zip(*all_ms)]

    def choose(self, images, threads):
        if (images, threads) in self.choices:
            return
        ways = {1, threads} if images % threads == 0 else {1}
        timed = {(variant, n): self.time(variant, n, images, threads, CHOICE_SECONDS)[1]
                 for variant in self.told["variants"] for n in sorted(ways)}
        self.choices[images, threads] = min(timed, key=timed.get)

    def measure(self, images, threads, seconds):
        variant, processes = self.choices[images, threads]
        return self.time(variant, processes, images, threads, seconds)

    def choices_as_records(self):
        return [{"engine": self.key, "images": images, "threads": threads, "variant": variant,
                 "processes": processes}
                for (images, threads), (variant, processes) in sorted(self.choices.items())]

    def take_choices(self, records):
        """Those that an earlier run made."""
        for r in records:
            if r["engine"] == self.key:
                self.choices[r["images"], r["threads"]] = r["variant"], r["processes"]

    def close(self):
        for p in self.processes:
            p.close()


def torch_peer():
    return Peer("torch", "PyTorch", [sys.executable, "-m", "tools.bench.torch_peer"])


def torch_peer_in_bf16():
    return Peer("torch_bf16", "PyTorch in bf16", [sys.executable, "-m", "tools.bench.torch_peer", "bf16"])


def onnx_peer(folder):
    return Peer("ort", "ONNX Runtime", ["node", "tools/bench/onnx_peer.js", folder])


def onnx_peer_in_int8(folder):
    return Peer("ort_int8", "ONNX Runtime, convolutions in int8",
                ["node", "tools/bench/onnx_peer.js", folder, "int8"])


def onnx_peer_on_avx2(folder):
    """The same behind a processor that says it ends at AVX2."""
    library = ROOT / "build" / "tools" / "bench" / "hide_avx512.so"
    if not library.is_file():  # the loader would go on without it
        raise RuntimeError(f"no {library.name} on this architecture")
    return Peer("ort_avx2", "ONNX Runtime on AVX2", ["node", "tools/bench/onnx_peer.js", folder],
                env={"LD_PRELOAD": str(library)})


OURS = (
    ("fp32", "denoised fp32", "--precision", "fp32"),
    ("bf16", "denoised bf16", "--precision", "bf16"),
    ("avx2", "denoised fp32 on AVX2", "--precision", "fp32", "--isa", "avx2"),
    ("openblas", "denoised on OpenBLAS", "--precision", "fp32", "--isa", "openblas"),
    ("scalar", "denoised, plain C", "--precision", "fp32", "--isa", "scalar"),
)


KEYS = [row[0] for row in OURS] + ["torch", "torch_bf16", "ort", "ort_int8", "ort_avx2", "onednn"]


def ours(keys):
    """Those of our kernel sets that run here, and the names of those that do not."""
    engines, missing = [], []
    for row in (row for row in OURS if row[0] in keys):
        engine = Ours(*row)
        try:
            engine.bench(1, 1, 0.1)
            engines.append(engine)
        except RuntimeError as error:
            missing.append(engine.title)
            print(f"bench: left out: {engine.title}: {error}", file=sys.stderr)
    return engines, missing


def onednn_convs(folder, precision, batch, seconds):
    """{layer: {"ms" an image, "implementation"}} on one thread; of two forms the faster."""
    told = program(ROOT / "build" / "tools" / "bench" / "onednn_convs", precision, batch, seconds,
                   text=(folder / "layers.txt").read_text(), env={"OMP_NUM_THREADS": "1"})
    layers = {}
    for layer in told["layers"]:
        ms = layer["ms"] / batch
        if layer["name"] not in layers or ms < layers[layer["name"]]["ms"]:
            layers[layer["name"]] = {"ms": ms, "implementation": layer["implementation"]}
    return layers, told["version"]
