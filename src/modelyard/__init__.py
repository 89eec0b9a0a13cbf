"""Modelyard: a model from versioned data to a monitored, traceable prediction API."""

__version__ = "0.1.0"
"""The one place of the version: images carry this file, not the package's metadata."""
