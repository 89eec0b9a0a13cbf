"""Serving: follows `MODEL_URI` in the registry and answers predictions with what it means.

This file imports nothing, so that the container's health probe starts in milliseconds.
"""
