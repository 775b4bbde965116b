"""Which of bf16 autocast and fp32 trains faster: it differs by machine, so it is measured."""

import statistics
import time

import torch
from tqdm import tqdm

NAMES = ("bf16", "fp32")
TRIALS = 3  # of each, in turn, after one that warms up


def autocast(device, precision):
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class LastConvolution(torch.nn.Conv2d):
    """To an image's few channels, in fp32 under autocast too: oneDNN 3.7, of Debian 13, computes 3x3 convolutions
    in bf16 to fewer than 16 channels wrongly."""

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def add_option(parser):
    parser.add_argument("--precision", choices=("auto", *NAMES), default="auto",
                        help="bf16 is autocast; auto: at a --resume the run's own, else what is faster "
                             "here, by a few steps of each (default: auto)")


def choose(wanted, recipes, device, trial, clock=time.perf_counter):
    """What to train in. trial(autocast) does the work of a step and leaves nothing behind. `recipes`
    is the checkpoint's list: a run goes on as it was, whatever is faster where it goes on."""
    if wanted != "auto":
        return wanted
    if recipes and "precision" in recipes[-1]["recipe"]:
        return recipes[-1]["recipe"]["precision"]
    seconds = {name: [] for name in NAMES}
    for i in range(TRIALS + 1):
        for name in NAMES:
            began = clock()
            trial(autocast(device, name))
            if i > 0:
                seconds[name].append(clock() - began)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    chosen = min(NAMES, key=median.get)
    tqdm.write(f"precision {chosen}: a step takes " + ", ".join(
        f"{s * 1e3:.0f} ms in {name}" for name, s in median.items()))
    return chosen
