"""Whether each tree of an ensemble ends: onnxruntime follows branches wherever they lead.

It refuses a node that points to itself, and takes two that point to each other: a row that comes
there is never answered. All exporters number a node before its children; what is numbered so ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from modelyard.scoring.onnx.protobuf import ProtobufError, fields, integers, split_before

_INTS, _STRINGS = 8, 9  # in AttributeProto
_LEAF = b"\x4a\x04LEAF"
_BRANCH = rb"\x4a(?:\x09BRANCH_(?:LT|GT|EQ)|\x0aBRANCH_(?:LEQ|GTE|NEQ))"
_modes = re.compile(rb"(?:\x4a\x04LEAF|%b)*" % _BRANCH)
_branch = re.compile(_BRANCH)


def have_ends(attributes: Mapping[str, memoryview]) -> bool:
    """Whether no branch of the ensemble with these attributes leads back to where it came from."""
    try:
        is_end = _are_leaves(attributes["nodes_modes"])
        numbers = integers(attributes["nodes_nodeids"], _INTS)
        left = integers(attributes["nodes_truenodeids"], _INTS)
        right = integers(attributes["nodes_falsenodeids"], _INTS)
    except (KeyError, ProtobufError):
        return False
    if not len(is_end) == len(numbers) == len(left) == len(right):
        return False
    return bool((is_end | ((left > numbers) & (right > numbers))).all())


def _are_leaves(attribute: memoryview) -> npt.NDArray[np.bool_]:
    """For each mode in the attribute, whether it is that of a leaf; raises ProtobufError."""
    rest = split_before(attribute, _STRINGS)
    found = _modes.match(rest)
    assert found is not None  # it matches nothing, too
    if any(field.number == _STRINGS for field in fields(rest[found.end() :])):
        raise ProtobufError("a mode of the trees is unknown")
    letters = _branch.sub(b"B", found.group().replace(_LEAF, b"L"))
    is_leaf: npt.NDArray[np.bool_] = np.frombuffer(letters, np.uint8) == ord("L")
    return is_leaf
