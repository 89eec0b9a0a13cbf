"""Opening a registered version, holding rows to its contract, and asking it; knows no HTTP."""
