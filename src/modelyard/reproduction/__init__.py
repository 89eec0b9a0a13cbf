"""Rebuilding a version from what is on record for it, and comparing the two, file by file."""
