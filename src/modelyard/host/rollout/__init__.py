"""`make rollout`: another image or other settings for `serving`, without a lost request.

PYTHONPATH=src python3 -m modelyard.host.rollout --help
"""
