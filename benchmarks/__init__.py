"""Modelyard beside its peers, measured on this machine."""
