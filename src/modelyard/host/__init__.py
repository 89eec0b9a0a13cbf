"""What runs on the host with its own Python: standard library only, Python 3.8 or newer."""
