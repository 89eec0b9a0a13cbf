"""Programs that run in a peer's own environment, and the pinned packages of each."""
