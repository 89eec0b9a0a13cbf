"""Rows for a training: read, checked, split and streamed."""
