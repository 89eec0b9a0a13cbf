"""What FastAPI answers: state, metadata, administration, documentation."""
