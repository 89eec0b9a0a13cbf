"""From a fitted model to the files of a model version."""
