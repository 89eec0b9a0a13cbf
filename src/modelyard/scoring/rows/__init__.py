"""Rows as columns, the contract's rules for them, and the faults of those that break one."""
