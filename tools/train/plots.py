"""Pictures of a training run: curves of loss and quality, grids of samples."""

import csv

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image


def grid(images, columns, path, scale=2):
    """Write uint8 images [N,H,W] or [N,H,W,3] as one PNG of `columns` columns, each pixel `scale` wide."""
    n, h, w = images.shape[:3]
    rows = -(-n // columns)
    sheet = np.zeros((rows * h, columns * w) + images.shape[3:], np.uint8)
    for i, image in enumerate(images):
        y, x = divmod(i, columns)
        sheet[y * h:(y + 1) * h, x * w:(x + 1) * w] = image
    Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1)).save(path)


def loss_curve(csv_path, png_path):
    """Plot loss and learning rate against epochs from a run's loss.csv."""
    rows = list(csv.DictReader(open(csv_path)))
    if not rows:
        return
    epoch = [float(r["epoch"]) for r in rows]
    loss = np.array([float(r["loss"]) for r in rows])
    width = min(20, len(loss))
    smooth = np.convolve(loss, np.ones(width) / width, mode="valid")
    fig, ax = plt.subplots(figsize=(7, 4), dpi=110)
    ax.plot(epoch, loss, color="0.75", lw=0.7, label="mean of 50 steps")
    ax.plot(epoch[width - 1:], smooth, color="C0", lw=1.5, label=f"mean of {50 * width} steps")
    ax.set(xlabel="epoch", ylabel="v-prediction loss (MSE)",
           ylim=(min(loss) * 0.95, np.percentile(loss, 95) * 1.1))
    twin = ax.twinx()
    twin.plot(epoch, [float(r["lr"]) for r in rows], color="C1", lw=0.8)
    twin.set_ylabel("learning rate", color="C1")
    ax.legend(frameon=False)
    fig.tight_layout()
    fig.savefig(png_path)
    plt.close(fig)


def quality_curve(csv_path, png_path):
    """Plot CA and FD of a few-step student against steps from a run's quality.csv, for each number
    of evaluations, with the base model's dashed."""
    rows = list(csv.DictReader(open(csv_path)))
    fig, axes = plt.subplots(1, 2, figsize=(9, 4), dpi=110)
    for ax, name, scale in zip(axes, ("ca", "fd_train"), (100, 1)):
        student = [r for r in rows if r["sampler"] == "consistency"]
        for n in sorted({int(r["evaluations"]) for r in student}):
            mine = [r for r in student if int(r["evaluations"]) == n]
            ax.plot([int(r["step"]) for r in mine], [scale * float(r[name]) for r in mine],
                    marker=".", label=f"{n} evaluation{'s'[:n > 1]}")
        for r in rows:
            if r["sampler"] != "consistency":
                ax.axhline(scale * float(r[name]), color="0.5", ls="--", lw=0.8,
                           label=f"base, {r['evaluations']} evaluations")
        ax.set_xlabel("step")
    axes[0].set(ylabel="CA %", ylim=(max(80, axes[0].get_ylim()[0]), 100))
    axes[1].set(ylabel="FD to the training digits")
    axes[1].legend(frameon=False, fontsize=9)
    fig.tight_layout()
    fig.savefig(png_path)
    plt.close(fig)
