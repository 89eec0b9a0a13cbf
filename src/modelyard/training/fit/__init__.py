"""Fitting a network: the loop, its checkpoints, and its processes."""
