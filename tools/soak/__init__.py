"""A daemon under mixed load for a long time. Run `make soak` from the root."""
