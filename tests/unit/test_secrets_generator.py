"""The job that makes passwords and tokens: once, whole, and told to nobody."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "configs/secrets/generate.py"
OWN = "[default]\naws_access_key_id = OWNKEY\naws_secret_access_key = own/secret\n"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_everything_is_made_with_its_mode_and_nothing_is_printed(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main([str(tmp_path)]) == 0
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert modes == {
        "db/password": 0o444,
        "db/pgpass": 0o600,
        "s3/identities.json": 0o400,
        "s3/credentials": 0o400,
        "admin/token": 0o400,
    }
    made = contents(tmp_path)
    printed = "".join(capsys.readouterr())
    assert made["db/password"].strip() not in printed
    assert made["admin/token"].strip() not in printed
    assert made["db/password"].strip() in made["db/pgpass"]
    key = json.loads(made["s3/identities.json"])["identities"][0]["credentials"][0]
    assert key["secretKey"] in made["s3/credentials"]
    assert key["secretKey"] not in printed


def test_two_stacks_share_no_secret(generate: ModuleType, tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate.main([str(tmp_path / name)])
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert all(one[name] != two[name] for name in one)


def test_a_second_run_changes_nothing(generate: ModuleType, tmp_path: Path) -> None:
    generate.main([str(tmp_path)])
    before = contents(tmp_path)
    generate.main([str(tmp_path)])
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "lost", ["db/password", "db/pgpass", "s3/identities.json", "s3/credentials"]
)
def test_a_lost_file_comes_back_as_it_was(generate: ModuleType, tmp_path: Path, lost: str) -> None:
    generate.main([str(tmp_path)])
    before = contents(tmp_path)
    (tmp_path / lost).unlink()
    generate.main([str(tmp_path)])
    assert contents(tmp_path) == before


def test_a_killed_run_leaves_nothing_that_stops_the_next(
    generate: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db/.password.tmp").write_text("half")
    assert generate.main([str(tmp_path)]) == 0
    assert not (tmp_path / "db/.password.tmp").exists()


def test_a_store_of_ones_own_and_back_again(generate: ModuleType, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text(OWN)
    volumes = tmp_path / "volumes"
    generate.main([str(volumes)])
    before = contents(volumes)
    generate.main([str(volumes), str(own)])
    assert contents(volumes) == {**before, "s3/credentials": OWN}
    own.write_text("# empty on purpose\n")
    generate.main([str(volumes), str(own)])
    assert contents(volumes) == before


def test_half_a_credentials_file_is_refused_with_a_sentence(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.write_text("[default]\naws_access_key_id = K\n")
    assert generate.main([str(tmp_path / "volumes"), str(own)]) == 1
    assert "S3_CREDENTIALS_FILE" in capsys.readouterr().err


def test_the_committed_placeholder_counts_as_no_file(generate: ModuleType, tmp_path: Path) -> None:
    assert generate.main([str(tmp_path), str(SCRIPT.with_name("no-s3-credentials"))]) == 0
    assert contents(tmp_path)["s3/credentials"].startswith("[default]\n")
