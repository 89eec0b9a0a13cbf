"""Settings come from the environment, and what is wrong with one is said without its value."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from modelyard import __version__
from modelyard.errors import ConfigError
from modelyard.settings import (
    CommandSettings,
    DemoSettings,
    RegistrySettings,
    ReproductionSettings,
    ServingSettings,
    TrafficSettings,
    TrainingSettings,
    read_settings,
    variable_of,
)
from modelyard.settings.environment import OLD_NAMES, OldName, _warn_once

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
KINDS = (
    CommandSettings,
    DemoSettings,
    ReproductionSettings,
    ServingSettings,
    TrafficSettings,
    TrainingSettings,
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_whose_variables_are_all_empty_has_its_defaults(monkeypatch, kind):
    for name in map(partial(variable_of, kind), kind.model_fields):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODEL_URI", "models:/m@champion")  # the only one without a default
    unset = read_settings(kind)
    for name in map(partial(variable_of, kind), kind.model_fields):
        if name != "MODEL_URI":
            monkeypatch.setenv(name, "")
    assert read_settings(kind) == unset


def test_a_variable_that_is_needed_may_not_be_empty(monkeypatch):
    monkeypatch.setenv("MODEL_URI", "")
    with pytest.raises(ConfigError, match="  MODEL_URI: Field required"):
        read_settings(ServingSettings)


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


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_explains_itself(kind):
    for name, field in kind.model_fields.items():
        assert field.description, name


@pytest.fixture
def old_name(monkeypatch):
    """`SERVING_ROWS` is the old name of SERVING_MAX_ROWS, `LAST_YEARS_URI` that of MODEL_URI."""
    old_names = {"SERVING_ROWS": "SERVING_MAX_ROWS", "LAST_YEARS_URI": "MODEL_URI"}
    for old, name in old_names.items():
        monkeypatch.setitem(OLD_NAMES, old, OldName(name, "9.1"))
        monkeypatch.delenv(old, raising=False)
    _warn_once.cache_clear()


def test_an_old_name_is_read_with_a_warning_for_one_version(monkeypatch, caplog, old_name):
    monkeypatch.setenv("SERVING_ROWS", "7")
    monkeypatch.setenv("LAST_YEARS_URI", "models:/m/1")
    monkeypatch.delenv("MODEL_URI")
    settings = read_settings(ServingSettings)
    assert (settings.max_rows, settings.model_uri) == (7, "models:/m/1")
    read_settings(ServingSettings)
    assert caplog.messages == [  # once a process
        "SERVING_ROWS is called SERVING_MAX_ROWS now; version 9.1 ignores the old name.",
        "LAST_YEARS_URI is called MODEL_URI now; version 9.1 ignores the old name.",
    ]


def test_the_new_name_wins_and_that_is_told(monkeypatch, caplog, old_name):
    monkeypatch.setenv("SERVING_ROWS", "7")
    monkeypatch.setenv("SERVING_MAX_ROWS", "8")
    assert read_settings(ServingSettings).max_rows == 8
    (message,) = caplog.messages
    assert (
        message == "SERVING_ROWS is ignored: it is called SERVING_MAX_ROWS now, which is set too."
    )


def test_an_empty_old_name_counts_as_none_as_does_an_empty_new_one(monkeypatch, caplog, old_name):
    monkeypatch.setenv("SERVING_ROWS", "")
    assert read_settings(ServingSettings).max_rows == 1000
    assert caplog.messages == []
    monkeypatch.setenv("SERVING_ROWS", "7")
    monkeypatch.setenv("SERVING_MAX_ROWS", "")
    assert read_settings(ServingSettings).max_rows == 7


def test_a_wrong_value_under_an_old_name_is_told_by_the_new_one(monkeypatch, old_name):
    monkeypatch.setenv("SERVING_ROWS", "s3cret")
    with pytest.raises(ConfigError, match="  SERVING_MAX_ROWS: ") as refusal:
        read_settings(ServingSettings)
    assert "s3cret" not in refusal.value.detail


def test_a_process_that_does_not_read_the_variable_says_nothing(monkeypatch, caplog, old_name):
    monkeypatch.setenv("SERVING_ROWS", "7")
    read_settings(TrainingSettings)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (
            "",
            "REGISTRY_PATIENCE_S is called REGISTRY_TIMEOUT_S now; version 9.1 ignores the old",
        ),
        ("configure_logs()", '"message": "REGISTRY_PATIENCE_S is called REGISTRY_TIMEOUT_S now;'),
    ],
    ids=["command", "server"],
)
def test_a_command_tells_of_an_old_name_on_stderr_and_a_server_in_its_log(prepare, told):
    code = f"""
from modelyard.logs import configure_logs
from modelyard.settings import RegistrySettings, read_settings
from modelyard.settings.environment import OLD_NAMES, OldName
OLD_NAMES["REGISTRY_PATIENCE_S"] = OldName("REGISTRY_TIMEOUT_S", "9.1")
{prepare}
print(read_settings(RegistrySettings).registry_timeout_s)
"""
    bare = {name: value for name, value in os.environ.items() if name != "REGISTRY_TIMEOUT_S"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**bare, "REGISTRY_PATIENCE_S": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "3.0\n"
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_name_ends_with_its_version_and_reaches_its_readers_until_then():
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"].values()
    environments = [service.get("environment", {}) for service in services]
    names = {variable_of(kind, field) for kind in KINDS for field in kind.model_fields}
    for old, (name, removed_in) in OLD_NAMES.items():
        assert old not in names
        assert name in names
        assert Version(__version__) < Version(removed_in), f"{old} is to be removed now"
        assert [name in given for given in environments] == [old in given for given in environments]


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
