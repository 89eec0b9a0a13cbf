"""YAML becomes typed values, and every fault says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.config import Frozen, override, parse_yaml, read_yaml, validate
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


def test_an_empty_file_is_an_empty_mapping():
    assert parse_yaml("", "x.yaml") == {}


def test_a_missing_file_names_those_beside_it(tmp_path: Path):
    (tmp_path / "train.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"That folder holds: train\.yaml"):
        read_yaml(tmp_path / "trian.yaml")


def test_a_near_miss_gets_did_you_mean_at_its_depth():
    with pytest.raises(ConfigError, match=r'fit\.epoch: no such key\. Did you mean "epochs"\?'):
        validate(Outer, {"name": "x", "fit": {"epoch": 1}}, "x.yaml")


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


@pytest.mark.parametrize("assignment", ["fit.epochs", "=3", "seed.x=1"])
def test_an_assignment_that_cannot_be_made_is_refused(assignment: str):
    with pytest.raises(ConfigError):
        override({"seed": 7}, [assignment])
