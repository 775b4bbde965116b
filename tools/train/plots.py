"""Pictures of a training run: the loss curve and grids of samples."""

import csv

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image


def grid(images, columns, path, scale=2):
    """Write uint8 images [N,H,W] as one PNG of `columns` columns, each pixel `scale` wide."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * h, columns * w), np.uint8)
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
