"""The stack without Docker: the same programs, started on this machine with other settings."""
