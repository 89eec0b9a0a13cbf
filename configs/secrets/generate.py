"""Make every password and token of the stack, once: the first job of `docker compose up`.

One folder (a volume) for each domain, so that a service sees only what it needs. What is there
stays as it is: passwords are never rotated, and a folder that lost a file gets it back from the
others. Nothing secret is printed; every write is atomic, so a killed run leaves no half file.

    <folder>/db/password       for Postgres' own entrypoint
    <folder>/db/pgpass         for MLflow (PGPASSFILE); libpq insists on mode 0600
    <folder>/s3/identities.json   for SeaweedFS (-s3.config)
    <folder>/s3/credentials    for S3 clients (AWS_SHARED_CREDENTIALS_FILE)
    <folder>/admin/token       for serving's /admin (SERVING_ADMIN_TOKEN_FILE)

An S3 of your own: the file named second, when it holds an access key, becomes s3/credentials.

Run: python generate.py FOLDER [OWN_S3_CREDENTIALS]
"""

# ruff: noqa: INP001, T201 - a script for a container, which talks to its log

from __future__ import annotations

import configparser
import json
import os
import secrets
import sys
from pathlib import Path
from typing import NamedTuple

DATABASE_ROLE = "mlflow"
READ_BY_OTHERS = 0o444  # Postgres runs as another user; only containers given the volume see it
READ_BY_OWNER = 0o400
PGPASS_MODE = 0o600


class SecretsError(Exception):
    """The secrets cannot be made; the message says what was expected and what to do."""


class KeyPair(NamedTuple):
    """What an S3 client signs its requests with."""

    access_key: str
    secret_key: str


def read(path: Path) -> str:
    """The text of a file; empty where there is none. A half-written file cannot exist."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        raise SecretsError(
            f"expected to read {path} as user {os.getuid()}, found no permission. A credentials "
            "file of your own has to be readable inside the container: chmod 0444 it and keep its "
            "folder at 0700."
        ) from error


def write(path: Path, text: str, mode: int) -> None:
    """Write a file so that a reader sees all of it or none."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise SecretsError(
            f"expected to write {path} as user {os.getuid()}, found: {error.strerror}. The volume "
            "belongs to another user or is full; `docker volume rm` it while the stack is down "
            "(for the db volume: passwords in it are lost with it)."
        ) from error


def keep(path: Path, text: str, mode: int) -> None:
    """Make sure that a file holds this text."""
    found = read(path)
    if found == text:
        print(f"{path}: kept")
        return
    write(path, text, mode)
    print(f"{path}: {'changed' if found else 'created'}")


def make_database_secrets(folder: Path) -> None:
    """The role's password, for the server and for its client."""
    _, _, from_pgpass = read(folder / "pgpass").strip().rpartition(":")
    password = read(folder / "password").strip() or from_pgpass or secrets.token_hex(24)
    keep(folder / "password", f"{password}\n", READ_BY_OTHERS)
    keep(folder / "pgpass", f"*:*:*:{DATABASE_ROLE}:{password}\n", PGPASS_MODE)


def parse_credentials(text: str) -> KeyPair | None:
    """The default profile's key pair of an AWS shared credentials file."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        profile = parser["default"]
        return KeyPair(profile["aws_access_key_id"], profile["aws_secret_access_key"])
    except (configparser.Error, KeyError):
        return None


def parse_identities(text: str) -> KeyPair | None:
    """The key pair in a SeaweedFS identities file."""
    try:
        credentials = json.loads(text)["identities"][0]["credentials"][0]
        return KeyPair(credentials["accessKey"], credentials["secretKey"])
    except (ValueError, KeyError, IndexError):
        return None


def make_store_secrets(folder: Path, own_credentials: str) -> None:
    """The bundled store's key pair, for the store and for its clients, or the user's own file."""
    own = parse_credentials(own_credentials)
    if own is None and "aws_" in own_credentials:
        raise SecretsError(
            "expected aws_access_key_id and aws_secret_access_key under [default] in the file that "
            "S3_CREDENTIALS_FILE names, found only part of that."
        )
    found = parse_identities(read(folder / "identities.json"))
    if found is None and own is None:
        found = parse_credentials(read(folder / "credentials"))
    pair = found or KeyPair(f"modelyard{secrets.token_hex(6)}", secrets.token_hex(24))
    identity = {
        "name": "modelyard",
        "credentials": [{"accessKey": pair.access_key, "secretKey": pair.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    identities = json.dumps({"identities": [identity]}, indent=2) + "\n"
    credentials = (
        "[default]\n"
        f"aws_access_key_id = {pair.access_key}\n"
        f"aws_secret_access_key = {pair.secret_key}\n"
    )
    keep(folder / "identities.json", identities, READ_BY_OWNER)
    keep(folder / "credentials", own_credentials if own else credentials, READ_BY_OWNER)


def make_admin_token(folder: Path) -> None:
    """The token that serving's /admin asks for."""
    token = read(folder / "token").strip() or secrets.token_urlsafe(32)
    keep(folder / "token", f"{token}\n", READ_BY_OWNER)


def main(argv: list[str]) -> int:
    """Make what is missing under argv[0]; argv[1] may name an S3 credentials file of the user."""
    folder = Path(argv[0])
    os.umask(0o022)
    try:
        make_database_secrets(folder / "db")
        make_store_secrets(folder / "s3", read(Path(argv[1])) if len(argv) > 1 else "")
        make_admin_token(folder / "admin")
    except SecretsError as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
