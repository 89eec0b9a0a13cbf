"""What each ONNX operator costs, told from its inputs: the tables behind `cost.py`.

Only operators that are listed are known: whatever is not (Loop, operators of other libraries, text
that is split or replaced, operators to come) is taken to cost whatever its input says.
"""

from __future__ import annotations

_STANDARD = """
Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool
BatchNormalization Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil
Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv
ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity
InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxUnpool Mean
MeanVarianceNormalization Min Mish Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Or
PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal
RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
Resize ReverseSequence RotaryEmbedding Round Scatter ScatterElements ScatterND Selu SequenceAt
SequenceConstruct Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
SpaceToDepth Split SplitToSequence Sqrt Squeeze StringNormalizer Sub Sum Swish Tan Tanh
ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
"""
_LEARNING = """
ArrayFeatureExtractor Binarizer CategoryMapper DictVectorizer FeatureVectorizer Imputer
LabelEncoder LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor
Scaler TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
_MICROSOFT = """
BiasGelu CDist DynamicQuantizeLSTM DynamicQuantizeMatMul FastGelu FusedConv FusedGemm FusedMatMul
Gelu MatMulIntegerToFloat MatMulNBits QGemm QLinearAdd QLinearAveragePool QLinearConcat
QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QuickGelu
SkipLayerNormalization SkipSimplifiedLayerNormalization SimplifiedLayerNormalization
"""
KNOWN: dict[str, frozenset[str]] = {
    "": frozenset(_STANDARD.split()),
    "ai.onnx": frozenset(_STANDARD.split()),
    "ai.onnx.ml": frozenset(_LEARNING.split()),
    "com.microsoft": frozenset(_MICROSOFT.split()),
}
"""Operators by domain whose time and memory are those of the sizes of their inputs."""

SIZED_BY: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Tile": (1, 2),
    "Upsample": (1,),
}
"""Operators whose output may be as large as the *values* of these inputs say."""

_REDUCTIONS = [name for name in KNOWN[""] if name.startswith("Reduce")]
DIVIDED_BY: dict[str, tuple[int, ...]] = {
    "Compress": (0, 1),
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "NonZero": (0,),
    "Reshape": (1,),
    "SequenceAt": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "TopK": (1,),
    "Unique": (0,),
    "Unsqueeze": (1,),
    **dict.fromkeys(_REDUCTIONS, (1,)),
}
"""Operators whose output is no larger than their input, and has the dimensions that the values of
these inputs say."""

_RANDOM = """
Bernoulli Dropout Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike
"""
RANDOM = frozenset(_RANDOM.split())

_ARITHMETIC = """
Abs Add And Cast CastLike Ceil Concat ConstantOfShape Div Equal Expand Flatten Floor Gather
GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Neg NonZero
Not Or Range ReduceMax ReduceMin Reshape Round ScatterElements ScatterND Sign Slice Split
Squeeze Sub Tile Transpose Unsqueeze Where
"""
ARITHMETIC = frozenset(_ARITHMETIC.split())
"""What sizes are computed with, and what makes them no larger than a few of them together."""

PRODUCTS = frozenset(["CumSum", "Mul", "ReduceProd", "ReduceSum", "Sum"])
"""What makes the product of sizes out of sizes."""

TREES = frozenset(["TreeEnsembleClassifier", "TreeEnsembleRegressor"])
