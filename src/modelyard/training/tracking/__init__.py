"""The run in MLflow: what a training records, and what it does while MLflow does not answer."""
