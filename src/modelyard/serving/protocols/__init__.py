"""The three protocols, as thin translations: bytes to columns, predictions to bytes."""
