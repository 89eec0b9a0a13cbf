"""The only reader of the environment: one typed class for each process that has settings.

Every field is one environment variable: its name in capitals, behind the prefix of its class where
that has one (`SERVING_`, `TRAFFIC_`). Secrets are named by file, never by value, so that
`docker inspect` shows none.
"""

from modelyard.settings.commands import CommandSettings, DemoSettings, ReproductionSettings
from modelyard.settings.environment import read_settings, variable_of
from modelyard.settings.registry import ActorSettings, RegistrySettings
from modelyard.settings.serving import ServingSettings
from modelyard.settings.traffic import TrafficSettings
from modelyard.settings.training import TrainingSettings

__all__ = [
    "ActorSettings",
    "CommandSettings",
    "DemoSettings",
    "RegistrySettings",
    "ReproductionSettings",
    "ServingSettings",
    "TrafficSettings",
    "TrainingSettings",
    "read_settings",
    "variable_of",
]
