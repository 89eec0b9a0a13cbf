"""What is served: one loaded version, and what runs it in this process."""
