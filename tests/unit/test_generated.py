"""What is made from the code is what the code says now."""

from __future__ import annotations

import pytest
from ci.generated import PARTS, ROOT, generate


@pytest.mark.parametrize("document", PARTS)
def test_what_is_made_from_the_code_is_up_to_date(document: str):
    text = (ROOT / document).read_text(encoding="utf-8")
    assert generate(text, PARTS[document]) == text, "run `make generated`"


def test_a_part_that_is_stale_is_replaced_and_the_rest_stays():
    stale = "before\n<!-- part: from x -->\nold\n<!-- end -->\nafter\n"
    made = "before\n<!-- part: from x -->\nnew\n<!-- end -->\nafter\n"
    assert generate(stale, {"part": lambda: "new\n"}) == made


def test_a_document_without_the_part_is_an_error():
    with pytest.raises(ValueError, match="expected one part <!-- part: … -->, found 0"):
        generate("nothing\n", {"part": str})
