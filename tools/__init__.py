"""Python tools around denoised: where its models come from and how they are judged."""

from tools import interrupt

interrupt.install()
