"""Searching for the best configuration of a fit."""
