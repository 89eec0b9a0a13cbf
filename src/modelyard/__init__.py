"""Modelyard: a model from versioned data to a monitored, traceable prediction API."""

__version__ = "0.1.0"
