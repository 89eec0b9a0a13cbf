"""`models:/` addresses: the four forms, and sentences for everything else."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
)

from modelyard.errors import ConfigError
from modelyard.registry import Selector, parse_model_uri
from modelyard.registry.uri import check_alias


@pytest.mark.parametrize(
    ("text", "name", "selector", "value"),
    [
        ("models:/fraud@champion", "fraud", Selector.ALIAS, "champion"),
        ("models:/a@b@champion", "a@b", Selector.ALIAS, "champion"),
        ("models:/a b@champion", "a b", Selector.ALIAS, "champion"),
        ("models:/a%20b/3", "a b", Selector.VERSION, "3"),
        ("models:/fraud/3", "fraud", Selector.VERSION, "3"),
        ("models:/fraud/007", "fraud", Selector.VERSION, "7"),
        ("models:/fraud/latest", "fraud", Selector.LATEST, "latest"),
        ("models:/fraud/Latest", "fraud", Selector.LATEST, "latest"),
        ("models:/fraud/production", "fraud", Selector.STAGE, "Production"),
        ("models:/fraud/Staging", "fraud", Selector.STAGE, "Staging"),
    ],
)
def test_every_form_is_understood(text, name, selector, value):
    uri = parse_model_uri(text)
    assert (uri.name, uri.selector, uri.value) == (name, selector, value)
    assert parse_model_uri(str(uri)) == uri
    assert uri.is_fixed is (selector is Selector.VERSION)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "expected models:/NAME@ALIAS"),
        ("fraud@champion", "expected models:/NAME@ALIAS"),
        ("models://fraud@champion", "one slash after the colon"),
        ("runs:/abc/model", "expected models:/NAME@ALIAS"),
        ("models:/fraud", "names no version"),
        ("models:/fraud@", "names no version"),
        ("models:/@champion", "names no version"),
        ("models:/a/b@champion", "names no version"),
        ("models:/a/b/3", "names no version"),
        ("models:/fraud/0", "neither a version number"),
        ("models:/fraud/-1", "neither a version number"),
        ("models:/fraud/\u0663", "neither a version number"),
        ("models:/fraud/champion", "models:/fraud@champion"),
        ("models:/fraud/Prodution", 'Did you mean "Production"?'),
    ],
)
def test_everything_else_is_refused_with_a_hint(text, hint):
    with pytest.raises(ConfigError) as refusal:
        parse_model_uri(text)
    assert hint in refusal.value.sentence()


def mlflow_takes(alias: str) -> bool:
    try:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    except MlflowException:
        return False
    return True


@pytest.mark.parametrize(
    "alias",
    [
        *("champion", "Champion_2-b", "-", "_", "7", "v1x", "latest-1", "\u00e9", "a" * 255),
        *("", " ", "bad alias!", "a.b", "a/b", "a@b", "latest", "LATEST", "v1", "V12", "a" * 256),
    ],
)
def test_an_alias_is_what_mlflow_takes_for_one(alias: str):
    if mlflow_takes(alias):
        assert check_alias(alias) == alias
    else:
        with pytest.raises(ConfigError, match="cannot be an alias: expected letters, digits"):
            check_alias(alias)
