"""The split between champion and challenger."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from modelyard.settings.environment import HttpUrl
from modelyard.settings.registry import ActorSettings


class TrafficSettings(ActorSettings):
    """The service `traffic`, which splits predictions between champion and challenger."""

    model_config = SettingsConfigDict(env_prefix="TRAFFIC_")

    socket: Path = Field(
        Path("/run/gateway/control.sock"), description="The gateway's control socket."
    )
    state_dir: Path = Field(
        Path("/var/lib/modelyard"), description="Folder in which the wanted split lasts."
    )
    port: int = Field(8405, ge=1, le=65535, description="Port of its report and its metrics.")
    champion_url: HttpUrl = Field(
        "http://serving:8000", description="Address of the champions, each of which is asked."
    )
    challenger_url: HttpUrl = Field(
        "http://challenger:8000", description="Address of the challengers."
    )
    poll_interval_s: float = Field(
        0.25, gt=0, le=1, description="Seconds between two looks at the gateway."
    )
    window_s: float = Field(
        30.0,
        gt=0,
        description="Seconds of traffic by which the challenger is judged; more while those hold "
        "too few requests.",
    )
    min_failures: int = Field(
        5, ge=1, description="Failures of the challenger below which none ends its traffic."
    )
    max_failure_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of its requests that it may fail at more than the champion, 0 to 1.",
    )
    min_requests: int = Field(
        50, ge=1, description="Requests of the challenger from which on its latency counts."
    )
    latency_factor: float = Field(
        3.0,
        ge=1,
        description="How many times the champion's latency (95th percentile) it may take.",
    )
    latency_floor_ms: float = Field(
        100.0,
        ge=0,
        description="Latency (95th percentile) in milliseconds that is never too long.",
    )
