"""Rows as columns, and the rules that they keep; what is said of those that do not."""
