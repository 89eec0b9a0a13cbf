"""Passwords and tokens: made on first start, seen by nobody who does not need them."""

from __future__ import annotations

from support.stack_driver import Stack, run

READ_ALL = (
    "import pathlib, sys\n"
    "for path in sorted(pathlib.Path('/volumes/secrets').glob('*/*')):\n"
    "    print('==', path)\n"
    "    print(path.read_text(), end='')\n"
)
# which containers see which domain
ALLOWED = {
    "secrets-db": {"secrets", "db", "mlflow", "mlflow-migrate"},
    "secrets-s3": {"secrets", "storage", "buckets", "mlflow", "dataset", "training"},
    "secrets-admin": {"secrets", "serving"},
}


def read_all(stack: Stack) -> str:
    return stack.compose("run", "--rm", "-T", "secrets", "python", "-c", READ_ALL).stdout


def values(stack: Stack) -> set[str]:
    found = set()
    for line in read_all(stack).splitlines():
        for part in line.replace('"', " ").replace(":", " ").replace(",", " ").split():
            if len(part) >= 18 and "/" not in part and "aws" not in part:
                found.add(part)
    assert len(found) >= 4, found  # database, access key, secret key, token
    return found


def test_no_secret_in_inspect_config_logs_or_images(stack: Stack) -> None:
    everything = {
        "config": stack.compose("--profile", "train", "config").stdout,
        "logs": stack.compose("--profile", "train", "logs", "--no-color").stdout,
        "inspect": str(stack.containers()),
    }
    for name in ("secrets", "mlflow", "serving"):
        everything[name] = run("docker", "image", "inspect", f"modelyard/{name}:test").stdout
    for secret in values(stack):
        for place, text in everything.items():
            assert text
            assert secret not in text, f"a secret is in {place}"


def test_a_service_sees_only_the_secrets_it_needs(stack: Stack) -> None:
    seen: dict[str, set[str]] = {name: set() for name in ALLOWED}
    for container in stack.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        for mount in container["Mounts"]:
            domain = mount.get("Name", "").removeprefix(f"{stack.project}_")
            if domain in seen:
                seen[domain].add(service)
                assert service == "secrets" or mount["RW"] is False
    for domain, services in seen.items():
        assert services <= ALLOWED[domain], domain
        assert services


def test_a_second_start_keeps_every_secret_and_mends_what_is_missing(stack: Stack) -> None:
    before = read_all(stack)
    remove = "import pathlib; pathlib.Path('/volumes/secrets/db/pgpass').unlink()"
    stack.compose("run", "--rm", "-T", "secrets", "python", "-c", remove)
    stack.compose("run", "--rm", "-T", "secrets")
    assert read_all(stack) == before


def test_the_store_refuses_who_has_no_key(stack: Stack) -> None:
    code = (
        "import urllib.request, urllib.error\n"
        "try: print(urllib.request.urlopen('http://storage:8333/mlflow').status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    assert stack.python("mlflow", code).strip() == "403"


def test_admin_requests_need_the_token(stack: Stack) -> None:
    token = stack.compose("exec", "-T", "serving", "cat", "/run/secrets/admin/token").stdout.strip()
    assert stack.inside("POST", "/admin/reload") == 401
    assert stack.inside("POST", "/admin/reload", authorization="Bearer wrong") == 403
    right = f"Bearer {token}"
    assert stack.inside("POST", "/admin/reload", authorization=right) not in {401, 403}
    # and from outside the token opens nothing
    refused = stack.api.post("/admin/reload", headers={"authorization": right})
    assert refused.status_code == 403
    assert "inside the stack only" in refused.json()["detail"]
