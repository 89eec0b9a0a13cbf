"""A runtime for MLServer that asks onnxruntime, as its documentation says one is written."""

import numpy as np
import onnxruntime as ort
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.utils import get_model_uri


class OnnxRuntime(MLModel):
    """One graph with an input for each feature."""

    async def load(self) -> bool:
        """Open the graph."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = await get_model_uri(self._settings)
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """One probability a row."""
        feed = {}
        for tensor in payload.inputs:
            if tensor.datatype == "BYTES":
                feed[tensor.name] = np.array(StringCodec.decode_input(tensor), dtype=object)
            else:
                feed[tensor.name] = NumpyCodec.decode_input(tensor).reshape(-1)
        answer = self._session.run(None, feed)[0]
        return types.InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output("probability", answer)],
        )
