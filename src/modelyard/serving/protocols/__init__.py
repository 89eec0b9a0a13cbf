"""The three ways to ask, as thin translations: bytes to columns, predictions to bytes."""
