"""ONNX operators by what decides the cost of a run.

`HARMLESS` ones make no more than the shapes of their inputs, and their attributes, say.
`SIZED_BY_VALUES` ones make what some of their inputs say: harmless where those are constants or
follow from shapes. All others (`Loop`, `SequenceMap`, `StringSplit`, `ImageDecoder`, …), and what
is in a domain that is not listed, may take any time.
"""

from __future__ import annotations

from collections.abc import Mapping

_ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitCast BitShift BitwiseAnd BitwiseNot
BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu
Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log
Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
Sinh Softplus Softsign Sqrt Sub Sum SwiGLU Swish Tan Tanh ThresholdedRelu Where Xor
"""
_REDUCING = """
ArgMax ArgMin CumProd CumSum Hardmax LogSoftmax LpNormalization ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax TopK
"""
_MOVING = """
Compress Concat ConcatFromSequence Constant DepthToSpace EyeLike Flatten Gather GatherElements
GatherND NonZero Reshape ReverseSequence Scatter ScatterElements ScatterND SequenceAt
SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Size Slice
SpaceToDepth Split SplitToSequence Squeeze TensorScatter Transpose Trilu Unique Unsqueeze
"""
_LAYERS = """
Attention AveragePool BatchNormalization Conv ConvInteger ConvTranspose DeformConv DequantizeLinear
Det DynamicQuantizeLinear Einsum GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample
GroupNormalization InstanceNormalization LRN LSTM LayerNormalization LpPool MatMul MatMulInteger
MaxPool MaxRoiPool MeanVarianceNormalization Multinomial NegativeLogLikelihoodLoss
NonMaxSuppression QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal
RandomNormalLike RandomUniform RandomUniformLike RoiAlign RotaryEmbedding SoftmaxCrossEntropyLoss
"""
_TEXT = "RegexFullMatch StringConcat StringNormalizer TfIdfVectorizer"
_LEARNING = """
ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder
LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler
TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
_MICROSOFT = """
Attention BiasGelu CDist DynamicQuantizeLSTM DynamicQuantizeMatMul EmbedLayerNormalization FastGelu
FusedConv FusedGemm FusedMatMul Gelu GemmFastGelu Inverse LayerNormalization MatMulIntegerToFloat
MatMulNBits MultiHeadAttention NhwcMaxPool QAttention QEmbedLayerNormalization QGemm QLinearAdd
QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
QLinearSigmoid QLinearSoftmax QLinearWhere QuickGelu RotaryEmbedding SimplifiedLayerNormalization
SkipLayerNormalization SkipSimplifiedLayerNormalization
"""

HARMLESS: Mapping[str, frozenset[str]] = {
    "": frozenset(f"{_ELEMENTWISE} {_REDUCING} {_MOVING} {_LAYERS} {_TEXT}".split()),
    "ai.onnx.ml": frozenset(_LEARNING.split()),
    "com.microsoft": frozenset(_MICROSOFT.split()),
}
"""Domain → operators."""

SIZED_BY_VALUES: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Tile": (1, 2),
    "Upsample": (1,),
}
"""Operator of the standard domain → the inputs that say how much it makes."""
