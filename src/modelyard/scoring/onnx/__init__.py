"""An ONNX graph in this process: what of a contract feeds it, and what runs it."""
