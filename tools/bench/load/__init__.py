"""What a running daemon does under load. Run `python3 -m tools.bench.load --help` from the root."""
