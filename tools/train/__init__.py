"""Training of the shipped models. Run `python3 -m tools.train --help` from the repository root."""
