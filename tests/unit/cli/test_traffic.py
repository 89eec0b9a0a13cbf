"""`modelyard traffic`: what is refused before anything is asked or changed."""

from __future__ import annotations

import pytest

from modelyard.cli.traffic import traffic
from modelyard.errors import ConfigError, TrafficError


def _call(**options: object) -> None:
    given = {
        "canary": None,
        "ab": None,
        "by_header": None,
        "shadow": False,
        "off": False,
        "why": "",
        "as_json": False,
    }
    traffic(**(given | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"canary": 10.0, "ab": 50.0}, "one of --canary, --ab"),
        ({"shadow": True, "off": True}, "one of --canary, --ab"),
        ({"by_header": "X-Key"}, "belongs to --ab"),
        ({"canary": 10.0, "by_header": "X-Key"}, "belongs to --ab"),
        ({"canary": 0.0}, "share in percent"),
        ({"ab": 101.0}, "share in percent"),
        ({"ab": 50.0, "by_header": "X Key"}, "name of the header"),
    ],
)
def test_nonsense_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        _call(**options)
    assert caught.value.fix


def test_without_the_service_it_says_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_PORT", "9")
    for options in ({}, {"canary": 10.0}):
        with pytest.raises(TrafficError) as caught:
            _call(**options)
        assert "--profile challenger up" in caught.value.fix
