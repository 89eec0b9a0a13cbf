"""Settings come from the environment, and what is wrong with one is said without its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import ConfigError
from modelyard.settings import (
    RegistrySettings,
    ServingSettings,
    TrafficSettings,
    TrainingSettings,
    read_settings,
    variable_of,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ServingSettings.model_fields:
        monkeypatch.delenv(variable_of(ServingSettings, name), raising=False)
    monkeypatch.setenv("MODEL_URI", "models:/m@champion")


def test_every_setting_but_the_model_has_a_default():
    settings = read_settings(ServingSettings)
    assert settings.model_uri == "models:/m@champion"
    assert settings.port == 8000
    assert settings.admin_token_file is None
    assert settings.allow_schema_change is False


def test_an_empty_variable_counts_as_none(monkeypatch):
    monkeypatch.setenv("SERVING_PORT", "")
    monkeypatch.setenv("SERVING_ADMIN_TOKEN_FILE", "")
    settings = read_settings(ServingSettings)
    assert settings.port == 8000
    assert settings.admin_token_file is None


def test_variables_are_read_by_their_type(monkeypatch):
    monkeypatch.setenv("SERVING_PORT", "9000")
    monkeypatch.setenv("SERVING_CACHE_DIR", "/tmp/cache")
    monkeypatch.setenv("SERVING_REQUIRE_MANIFEST", "1")
    monkeypatch.setenv("SERVING_ALLOW_SCHEMA_CHANGE", "true")
    settings = read_settings(ServingSettings)
    assert settings.port == 9000
    assert settings.cache_dir == Path("/tmp/cache")
    assert settings.require_manifest is True
    assert settings.allow_schema_change is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVING_PORT", "0"),
        ("SERVING_PORT", "eighty"),
        ("SERVING_CACHE_VERSIONS", "0"),
        ("SERVING_POLL_INTERVAL_S", "-2"),
        ("SERVING_REQUEST_TIMEOUT_S", "0"),
        ("SERVING_LOG_LEVEL", "verbose"),
        ("SERVING_LOG_FORMAT", "xml"),
        ("SERVING_MAX_BODY_BYTES", "s3cret"),
        ("MLFLOW_TRACKING_URI", "sqlite:///s3cret.db"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refusal:
        read_settings(ServingSettings)
    assert f"  {name}: " in refusal.value.detail
    assert "s3cret" not in refusal.value.detail
    assert ".env.example" in refusal.value.fix


def test_every_wrong_variable_is_named_at_once(monkeypatch):
    monkeypatch.delenv("MODEL_URI")
    monkeypatch.setenv("SERVING_PORT", "x")
    with pytest.raises(ConfigError) as refusal:
        read_settings(ServingSettings)
    assert "MODEL_URI" in refusal.value.detail
    assert "SERVING_PORT" in refusal.value.detail


def test_the_trackings_server_slash_at_the_end_does_not_matter(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000/")
    assert read_settings(RegistrySettings).mlflow_tracking_uri == "http://mlflow:5000"


def test_every_setting_explains_itself():
    for name, field in ServingSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("kind", [ServingSettings, TrafficSettings])
def test_the_prefix_of_a_class_is_not_put_before_what_it_inherits(monkeypatch, kind):
    prefix = kind.model_config["env_prefix"]
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "model_fields", {})}
    for name in kind.model_fields:
        if name in inherited:
            assert variable_of(kind, name) == name.upper()
        elif name != "model_uri":
            assert variable_of(kind, name) == prefix + name.upper()
    monkeypatch.setenv(f"{prefix}REGISTRY_TIMEOUT_S", "7")
    monkeypatch.setenv(f"{prefix}MODELYARD_USER", "nobody")
    monkeypatch.setenv("REGISTRY_TIMEOUT_S", "9")
    monkeypatch.setenv("MODELYARD_USER", "somebody")
    read = set(map(str, read_settings(kind).model_dump().values()))
    assert not read & {"7.0", "nobody"}
    assert read & {"9.0", "somebody"}


def test_settings_do_not_change():
    settings = read_settings(ServingSettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_the_run_context_is_a_json_object_of_strings(monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", '{"image.digest": "sha256:1"}')
    assert read_settings(TrainingSettings).mlflow_run_context == {"image.digest": "sha256:1"}
    monkeypatch.delenv("MLFLOW_RUN_CONTEXT")
    assert read_settings(TrainingSettings).mlflow_run_context == {}


@pytest.mark.parametrize("text", ["s3cret", '["s3cret"]', '{"a": {"s3cret": 1}}'])
def test_a_run_context_that_is_none_is_named(monkeypatch, text):
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", text)
    with pytest.raises(ConfigError, match="MLFLOW_RUN_CONTEXT") as refusal:
        read_settings(TrainingSettings)
    assert "s3cret" not in refusal.value.detail
