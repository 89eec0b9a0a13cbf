"""`make rollout`: another image or other settings for `serving`, without a lost request.

    PYTHONPATH=src python3 -m modelyard.host.rollout --help

Standard library only, and any Python from 3.8: it runs on the host, where nothing is installed.
"""
