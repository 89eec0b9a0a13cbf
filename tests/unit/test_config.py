"""YAML becomes typed values, and every fault says where it is."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Literal, Self

import pytest
from pydantic import Field, model_validator

from modelyard.config import Frozen, dump_yaml, override, parse_yaml, read_yaml, validate
from modelyard.errors import ConfigError


class Inner(Frozen):
    epochs: int = 3
    rate: float = 0.1


class Outer(Frozen):
    name: str
    fit: Inner = Inner()


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(ConfigError, match='"epochs" stands twice'):
        parse_yaml("epochs: 1\nepochs: 2", "x.yaml")


@pytest.mark.parametrize(
    "text", ["[1, 2]", "just words", "a: [1", "!!python/object/apply:os.system ['true']"]
)
def test_what_is_not_a_plain_mapping_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        parse_yaml(text, "x.yaml")


def merge_bomb(depth: int) -> str:
    """Merge keys in merge keys: ten times as much to hold for each level."""
    text = "&a0 {k: v}"
    for level in range(1, depth + 1):
        text = f"&a{level} {{<<: [{text}, {', '.join([f'*a{level - 1}'] * 9)}]}}"
    return f"<<: {text}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (merge_bomb(7), "anchors and aliases are not read here"),
        ("a: &x [1]\nb: [*x, *x]", "anchors and aliases"),
        ("<<: {a: 1}", "merge keys"),
        ("a:\n  <<: [{b: 1}, {c: 2}]", "merge keys"),
        ("a: " + "[" * 5_000 + "]" * 5_000, "nested more than 64 levels"),
        ("{a: " * 5_000, "nested more than 64 levels"),
        ("a: " + "x" * 2**20, "too long"),
        ("? [1, 2]\n: 3", "a key must be a single value"),
        ("a: 2020-99-99", "month must be in"),
        ("a: " + "9" * 5_000, "not valid YAML"),
        ("a: !!timestamp x", "not valid YAML"),
        ("a: !!bool maybe", "not valid YAML"),
        ("a: !!float x", "not valid YAML"),
        ("!!map [1]", "not valid YAML"),
    ],
    ids=lambda value: value[:24],
)
def test_what_costs_more_than_its_text_or_means_nothing_is_refused_in_a_sentence(
    text: str, said: str
):
    with pytest.raises(ConfigError) as refusal:
        parse_yaml(text, "x.yaml")
    assert refusal.value.detail.startswith("x.yaml ")
    assert said in refusal.value.detail


def test_no_text_ends_in_anything_but_a_mapping_or_a_sentence():
    random = Random(7)
    characters = "abc:-[]{}&*!<>|#%@`'\"?,=~.0123456789 \n\t\\"
    for _ in range(5_000):
        text = "".join(random.choices(characters, k=random.randrange(1, 25)))
        with suppress(ConfigError):
            assert isinstance(parse_yaml(text, "x.yaml"), dict)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path):
    with (tmp_path / "x.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="too long"):
        read_yaml(tmp_path / "x.yaml")


def test_what_is_written_can_be_read_also_where_a_value_occurs_twice():
    shared = {"a": [1]}
    assert parse_yaml(dump_yaml({"x": shared, "y": shared}), "x.yaml") == {"x": shared, "y": shared}


def test_an_empty_file_is_an_empty_mapping():
    assert parse_yaml("", "x.yaml") == {}


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"There is no file .*trian\.yaml\."):
        read_yaml(tmp_path / "trian.yaml")


def test_a_near_miss_gets_did_you_mean_at_its_depth():
    with pytest.raises(ConfigError, match=r'fit\.epoch: no such key\. Did you mean "epochs"\?'):
        validate(Outer, {"name": "x", "fit": {"epoch": 1}}, "x.yaml")


def test_the_keys_of_a_section_are_named_under_it():
    with pytest.raises(ConfigError) as caught:
        validate(Inner, {"epoch": 1}, "x.yaml", section="fit")
    assert caught.value.detail == (
        'x.yaml is not valid:\n  fit.epoch: no such key. Did you mean "epochs"?'
    )


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {"fit": {"epochs": "many", "rate": float("nan")}, "nmae": 1}, "x.yaml")
    for part in ("name: required", "fit.epochs:", "fit.rate:", 'Did you mean "name"?'):
        assert part in caught.value.detail


def test_assignments_reach_nested_keys_and_leave_the_original_alone():
    original = {"fit": {"epochs": 20}, "seed": 7}
    changed = override(original, ["fit.epochs=3", "fit.hidden=[8, 4]", "seed=9"])
    assert changed == {"fit": {"epochs": 3, "hidden": [8, 4]}, "seed": 9}
    assert original == {"fit": {"epochs": 20}, "seed": 7}


@pytest.mark.parametrize(
    "assignment", ["fit.epochs", "=3", "seed.x=1", "fit..epochs=1", ".=1", "fit.=1", ".fit=1"]
)
def test_an_assignment_that_cannot_be_made_is_refused(assignment: str):
    with pytest.raises(ConfigError):
        override({"seed": 7}, [assignment])


@pytest.mark.parametrize("assignment", ["fit..x=1", ".=1"])
def test_an_assignment_to_no_key_names_the_key(assignment: str):
    key = assignment.partition("=")[0]
    with pytest.raises(ConfigError, match=f'"{re.escape(key)}" is no key'):
        override({"fit": {}}, [assignment])


class Kinds(Frozen):
    """A field of each kind that configurations have."""

    whole: int = Field(1, ge=1, lt=9)
    share: float = Field(0.5, gt=0, le=1)
    yes: bool = True
    text: str = Field("x", min_length=1)
    word: str = Field("a", pattern="^[a-z]+$")
    choice: Literal["one", "two"] = "one"
    many: tuple[int, ...] = Field((1,), min_length=1)
    section: Inner = Inner()
    optional: Inner | None = None
    free: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if self.whole == 7:
            raise ValueError("whole may not be seven")
        return self


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"whole": "x"}, 'whole: expected a whole number, found "x".'),
        ({"whole": 1.5}, "whole: expected a whole number, found 1.5."),
        ({"whole": None}, "whole: expected a whole number, found nothing."),
        ({"whole": 0}, "whole: expected at least 1, found 0."),
        ({"whole": 9}, "whole: expected less than 9, found 9."),
        ({"whole": 7}, "whole may not be seven."),
        ({"share": "x"}, 'share: expected a number, found "x".'),
        ({"share": 0}, "share: expected more than 0, found 0."),
        ({"share": 2}, "share: expected at most 1, found 2."),
        ({"share": float("inf")}, "share: expected a finite number, found inf."),
        ({"yes": "maybe"}, 'yes: expected true or false, found "maybe".'),
        ({"text": True}, "text: expected a text, found true."),
        ({"text": ""}, 'text: expected a text that is not empty, found "".'),
        ({"word": "A"}, 'word: expected a text of the form ^[a-z]+$, found "A".'),
        ({"word": "A" * 99}, "word: expected a text of the form ^[a-z]+$, found a long text."),
        ({"choice": "three"}, "choice: expected 'one' or 'two', found \"three\"."),
        ({"many": 3}, "many: expected a list, found 3."),
        ({"many": []}, "many: expected 1 or more, found an empty list."),
        ({"many": ["x"]}, 'many.0: expected a whole number, found "x".'),
        ({"section": 3}, "section: expected a mapping of keys to values, found 3."),
        ({"optional": [1]}, "optional: expected a mapping of keys to values, found a list."),
        ({"free": 3}, "free: expected a mapping of keys to values, found 3."),
    ],
)
def test_a_fault_is_told_in_words_of_a_configuration(given: dict[str, Any], said: str):
    with pytest.raises(ConfigError) as caught:
        validate(Kinds, given, "x.yaml")
    assert caught.value.detail == f"x.yaml is not valid:\n  {said}"
