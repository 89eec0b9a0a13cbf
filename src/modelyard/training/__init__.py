"""Training: from a versioned dataset to a registered, promoted model version."""
