"""JSON of others: bounded in size and depth, and every fault a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelyard.errors import ConfigError

_LONGEST = 2**20


def parse_json(text: str, source: str, longest: int = _LONGEST) -> Any:
    """The value that `text` holds.

    Args:
        source: name of the text in an error, a path as a rule.
        longest: characters that it may have.

    Raises:
        ConfigError: not JSON, too long, nested too deeply, or with a number that nobody can mean.
    """
    if len(text) > longest:
        raise ConfigError(f"{source} is too long: at most {longest} characters are read.")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{source} is nested too deeply.") from error
    except ValueError as error:  # also of a number of 5,000 digits
        raise ConfigError(f"{source} is not valid JSON: {error}.") from error


def read_json(path: Path, longest: int = _LONGEST) -> Any:
    """The value in the JSON file at `path`, of which no more than `longest` characters are read.

    Raises:
        ConfigError: as `parse_json`, or the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(longest + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}.") from error
    return parse_json(text, path.name, longest)
