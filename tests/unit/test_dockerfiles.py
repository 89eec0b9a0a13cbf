"""What the Dockerfiles promise, checked without an engine; and that scripts can be run."""

from __future__ import annotations

import re
import subprocess

import pytest

from support.compose_files import (
    DOCKERFILES,
    INTERPOLATED,
    ROOT,
    read,
)


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_start_from_a_digest_and_end_without_root(path: str) -> None:
    text = read(path)
    stages = {"scratch", *re.findall(r"^FROM .+ AS (\S+)$", text, re.MULTILINE)}
    for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert base == "${PYTHON_IMAGE}" or re.sub(r"\$\{\w+\}", "cpu", base) in stages
    assert re.search(r"^ARG PYTHON_IMAGE=python:[\w.-]+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    assert "curl" not in text
    assert not text.startswith("# syntax"), "the frontend would be fetched from a registry"
    for install in re.findall(r"uv pip install(?:.|\\\n)+?-r \S+", text):
        assert "--require-hashes" in install
        assert "--compile-bytecode" in install


@pytest.mark.parametrize(
    ("first", "last", "files"),
    [
        ("FROM ${PYTHON_IMAGE} AS build\n", "RUN uv venv /opt/venv\n", DOCKERFILES),
        ("FROM ${PYTHON_IMAGE} AS runtime\n", "/tmp modelyard\n", DOCKERFILES),
        ("# Local wheels", "AS wheels\n", DOCKERFILES[1:]),
        ("# Only torch's CPU build", "COPY ", DOCKERFILES[1:]),
    ],
)
def test_dockerfiles_repeat_a_stage_word_for_word(
    first: str, last: str, files: tuple[str, ...]
) -> None:
    """Only equal steps share a layer and the cache; a stage cannot come from another Dockerfile."""
    stages = set()
    for path in files:
        ((stage,),) = (
            re.findall(f"{re.escape(first)}.*?{re.escape(last)}", read(path), re.DOTALL),
        )
        stages.add(stage)
    assert len(stages) == 1


def test_dockerfiles_and_compose_name_the_same_base() -> None:
    bases = {
        re.search(r"^ARG PYTHON_IMAGE=(\S+)$", read(path), re.MULTILINE)[1] for path in DOCKERFILES
    }
    assert bases == {*INTERPOLATED["PYTHON_IMAGE"]}


@pytest.mark.parametrize("path", ["entrypoint.sh", "ci/docker/engine.sh", "ci/docker/rootfs.sh"])
def test_scripts_parse_and_may_be_run(path: str) -> None:
    assert (ROOT / path).stat().st_mode & 0o111
    shell = read(path).splitlines()[0].removeprefix("#!/usr/bin/env ").removeprefix("#!/bin/")
    subprocess.run([shell, "-n", str(ROOT / path)], check=True)
