"""The images: what is in them, what is not, and what a change of the code rebuilds."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from modelyard import __version__
from support.stack_driver import FIGURES, ROOT, Stack, run

IMAGES = ("secrets", "mlflow", "serving", "training")
NOT_IN_AN_IMAGE = ("pip", "pip3", "uv", "gcc", "make", "git", "curl")
HEAVY = ("mlflow", "pandas", "sklearn", "torch", "polars", "pip")


def in_image(image: str, *command: str) -> tuple[int, str]:
    done = run("docker", "run", "--rm", "--network=none", "--entrypoint=", image, *command)
    return done.returncode, done.stdout + done.stderr


def layers(image: str) -> list[str]:
    return json.loads(
        run("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image).stdout
    )


@pytest.mark.parametrize("name", IMAGES)
def test_image_has_no_build_tools_and_no_root(images: Stack, name: str) -> None:
    image = f"modelyard/{name}:test"
    for tool in NOT_IN_AN_IMAGE:
        found, _ = in_image(image, "sh", "-c", f"command -v {tool}")
        assert found != 0, f"{tool} is in {image}"
    assert in_image(image, "python", "-c", "import pip")[0] != 0
    assert in_image(image, "id", "-u") == (0, "10001\n")


@pytest.mark.parametrize("name", IMAGES)
def test_image_says_what_it_is(images: Stack, name: str) -> None:
    found = run(
        "docker", "image", "inspect", "--format", "{{json .Config}}", f"modelyard/{name}:test"
    )
    config = json.loads(found.stdout)
    labels = config["Labels"]
    assert (
        labels["org.opencontainers.image.title"] == f"modelyard-{name.replace('training', 'train')}"
    )
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == images.environment()["GIT_COMMIT"]
    assert config["User"] == "10001:10001"


def test_images_run_the_version_that_they_are_labelled_with(images: Stack) -> None:
    said = in_image("modelyard/training:test", "modelyard", "--version")
    assert said == (0, f"modelyard {__version__}\n")
    program = "import modelyard; print(modelyard.__version__)"
    assert in_image("modelyard/serving:test", "python", "-c", program) == (0, f"{__version__}\n")


def test_lean_serving_image_knows_no_training_library(images: Stack) -> None:
    image = "modelyard/serving:test-onnx"
    images.compose("build", "serving", SERVING_TARGET="onnx", SERVING_IMAGE=image)
    for module in HEAVY:
        assert in_image(image, "python", "-c", f"import {module}")[0] != 0, module
    code, said = in_image(image, "python", "-c", "import modelyard.serving.app, onnxruntime")
    assert code == 0, said


@pytest.mark.parametrize(
    ("service", "image_variable", "module"),
    [
        ("serving", "SERVING_IMAGE", "src/modelyard/errors.py"),
        ("training", "TRAINING_CPU_IMAGE", "src/fraud_detector/model.py"),
    ],
)
def test_a_code_change_rebuilds_the_last_layer_only(
    images: Stack, tmp_path: Path, service: str, image_variable: str, module: str
) -> None:
    for name in ("src", "configs", "data", ".dvc", "ci/docker"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.parquet"),
        )
    for pattern in (
        "requirements-*.txt",
        "Dockerfile.*",
        "docker-compose*.yml",
        "*.sh",
        ".docker*",
    ):
        for file in ROOT.glob(pattern):
            shutil.copy2(file, tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write("\n# changed\n")
    image = f"modelyard/{service}:test-changed"
    copy = Stack(images.project, root=tmp_path)
    start = time.monotonic()
    copy.compose("build", service, **{image_variable: image})
    FIGURES.append(f"code-only rebuild of {service}: {time.monotonic() - start:.1f} s")
    try:
        before, after = layers(f"modelyard/{service}:test"), layers(image)
        assert len(before) == len(after)
        assert before[:-1] == after[:-1]
        assert before[-1] != after[-1]
    finally:
        run("docker", "image", "rm", image)
