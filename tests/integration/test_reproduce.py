"""A version is rebuilt from what is on record for it, or what stands in the way is named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from modelyard.registry import RegistryClient
from support.checkout import Checkout, copy_tree
from support.models.model import Model, register
from support.models.rankings import CONTRACT, ranking
from support.network import free_port

pytestmark = pytest.mark.timeout(900)  # trainings, several a test

MODEL = "reproduced"
ACTIVATION = "nn.SiLU()"
PACKAGES, CONFIG = "packages.txt", "config.yaml"


@pytest.fixture(scope="module")
def checkout(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("reproduce") / "checkout"
    made = copy_tree(folder, {"MLFLOW_TRACKING_URI": mlflow_url, "MODEL_NAME": MODEL})
    made.init()
    made.commit()
    done = made.push_data()
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def clean_version(checkout: Checkout) -> str:
    """Version 1, trained from a clean commit that is no longer checked out."""
    done = checkout.train(MODEL)
    assert done.returncode == 0, done.stderr
    assert "with local changes" not in done.stdout
    (checkout.folder / "src/fraud_detector/later.py").write_text("# a later commit\n")
    checkout.commit()
    return "1"


def git(checkout: Checkout, *words: str) -> str:
    command = ["git", "-C", str(checkout.folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def state(registry: RegistryClient, name: str) -> tuple:
    model = registry.registered_model(name)
    return model, [version.version for version in registry.versions(name)]


def test_a_version_of_an_older_commit_is_rebuilt_byte_for_byte_and_nothing_is_touched(
    checkout: Checkout, clean_version: str, registry: RegistryClient
):
    before = state(registry, MODEL)
    done = checkout.modelyard("reproduce", clean_version)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads(
        registry.version_text(registry.version(MODEL, clean_version), "manifest.json")
    )
    assert f"identical model.onnx, sha256 {manifest['sha256']['model.onnx']}" in done.stdout
    assert "whose src/ is tree" in done.stdout
    assert state(registry, MODEL) == before


def test_an_image_without_git_rebuilds_what_was_trained_from_its_own_code(
    checkout: Checkout, clean_version: str, tmp_path: Path
):
    image = Checkout(
        tmp_path / "app", {**checkout.environment, "PYTHONPATH": f"{tmp_path}/app/src"}
    )
    shutil.copytree(checkout.folder, image.folder, ignore=shutil.ignore_patterns(".git"))
    (image.folder / "src/fraud_detector/later.py").unlink()
    done = image.modelyard("reproduce", clean_version, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["identical"] is True
    assert "as it is here" in done.stderr


def test_an_image_of_another_commit_says_which_commit_it_takes(
    checkout: Checkout, clean_version: str, tmp_path: Path
):
    image = Checkout(
        tmp_path / "app", {**checkout.environment, "PYTHONPATH": f"{tmp_path}/app/src"}
    )
    shutil.copytree(checkout.folder, image.folder, ignore=shutil.ignore_patterns(".git"))
    done = image.modelyard("reproduce", clean_version, GIT_COMMIT="f" * 40)
    assert done.returncode == 9
    assert "is not available: this image was built from ffff" in done.stderr
    assert "make reproduce" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_image_of_another_commit_takes_the_code_that_is_handed_over(
    checkout: Checkout, clean_version: str, tmp_path: Path
):
    image = Checkout(
        tmp_path / "app", {**checkout.environment, "PYTHONPATH": f"{tmp_path}/app/src"}
    )
    shutil.copytree(checkout.folder, image.folder, ignore=shutil.ignore_patterns(".git"))
    archive = tmp_path / "code.tar"
    first = git(checkout, "rev-list", "--max-parents=0", "HEAD")
    git(checkout, "archive", "-o", str(archive), first)
    done = image.modelyard("reproduce", clean_version, "--code", str(archive), GIT_COMMIT="f" * 40)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"commit {first[:12]}, whose src/ is tree" in done.stdout
    assert "identical model.onnx" in done.stdout
    done = image.modelyard("reproduce", clean_version, "--code", str(tmp_path / "none.tar"))
    assert (done.returncode, "none.tar cannot be read" in done.stderr) == (2, True)


@pytest.fixture
def of_other_packages(
    clean_version: str, mlflow_url: str, registry: RegistryClient
) -> Iterator[str]:
    """A version with other numbers than numpy 0.0.1 gave it, as far as its record says."""
    run = registry.run(registry.version(MODEL, clean_version).run_id)
    kept = {name: registry.run_text(run, name) for name in (PACKAGES, CONFIG)}
    assert "\nseed: 7\n" in kept[CONFIG]
    client = MlflowClient(mlflow_url)
    client.log_text(run.run_id, re.sub("numpy==.*", "numpy==0.0.1", kept[PACKAGES]), PACKAGES)
    client.log_text(run.run_id, kept[CONFIG].replace("\nseed: 7\n", "\nseed: 8\n"), CONFIG)
    yield clean_version
    for name, text in kept.items():
        client.log_text(run.run_id, text, name)


def test_another_package_is_named_with_what_brings_it_back(
    checkout: Checkout, of_other_packages: str
):
    done = checkout.modelyard("reproduce", of_other_packages)
    assert done.returncode == 9
    assert "The first thing that differs is package numpy: recorded 0.0.1, now " in done.stderr
    first = git(checkout, "rev-list", "--max-parents=0", "HEAD")
    assert f"git checkout {first} -- requirements-dev.txt" in done.stderr


def test_changes_that_were_never_committed_are_the_first_difference(
    checkout: Checkout, clean_version: str, registry: RegistryClient
):
    path = checkout.folder / "src/fraud_detector/model.py"
    committed = path.read_text()
    assert ACTIVATION in committed
    path.write_text(committed.replace(ACTIVATION, "nn.GELU()"))
    done = checkout.train(MODEL)
    assert done.returncode == 0, done.stderr
    assert "with local changes" in done.stdout
    version = next(registry.versions(MODEL))
    assert version.tags["git.dirty"] == "true"
    path.write_text(committed)

    done = checkout.modelyard("reproduce", version.version)
    assert done.returncode == 9
    assert "model.onnx: recorded" in done.stderr
    assert "model.onnx: the " in done.stderr  # graph or weights: an activation is both
    assert "The first thing that differs is code: recorded a dirty tree" in done.stderr
    assert "src/fraud_detector/model.py" in done.stderr


def test_data_that_is_gone_is_an_error_with_a_fix(
    checkout: Checkout, clean_version: str, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    gone = {"DVC_REMOTE_URL": str(tmp_path / "empty"), "DVC_CACHE_DIR": str(tmp_path / "cache")}
    done = checkout.modelyard("reproduce", clean_version, **gone)
    assert done.returncode == 9
    assert "Its data could not be fetched" in done.stderr
    assert "its containers only: make reproduce" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_version_of_another_tool_has_no_record_to_rebuild_from(
    checkout: Checkout, mlflow_url: str
):
    version = register(mlflow_url, "foreign", Model(ranking("signal", "signal"), CONTRACT))
    done = checkout.modelyard("reproduce", version, "--model", "foreign")
    assert done.returncode == 9
    assert "The configuration of foreign version 1 is not on record" in done.stderr


def test_no_such_version_and_no_registry_are_exit_code_6(checkout: Checkout, clean_version: str):
    done = checkout.modelyard("reproduce", "99")
    assert (done.returncode, "There is no version 99" in done.stderr) == (6, True)
    closed = f"http://127.0.0.1:{free_port()}"
    done = checkout.modelyard("reproduce", clean_version, MLFLOW_TRACKING_URI=closed)
    assert (done.returncode, "does not answer" in done.stderr) == (6, True)
