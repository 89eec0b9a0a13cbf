"""What continuous integration and `make` need beside the stack."""
