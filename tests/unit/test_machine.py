"""What is recorded of a machine: its CPU type, and the GPU as the driver's tool tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.machine import NO_GPU, cpu_type, machine_tags

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86, "Intel(R) Xeon(R) Platinum 8481C (family 6, model 143)"),
        (ARM, "ARM implementer 0x41, part 0xd40"),
    ],
)
def test_the_cpu_type_is_the_first_processors(tmp_path: Path, text: str, expected: str):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_type(tmp_path / "cpuinfo") == expected


def test_a_machine_without_cpuinfo_has_some_name(tmp_path: Path):
    assert cpu_type(tmp_path / "none")


def a_driver_tool(folder: Path, script: str) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


def test_gpus_and_driver_are_what_nvidia_smi_says(tmp_path: Path, monkeypatch):
    a_driver_tool(tmp_path, "echo 'NVIDIA H200, 580.95.05\nNVIDIA H200, 580.95.05'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tags = machine_tags()
    assert tags["gpu"] == "NVIDIA H200, NVIDIA H200"
    assert tags["gpu.driver"] == "580.95.05"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'"])
def test_a_driver_that_does_not_answer_is_no_gpu(tmp_path: Path, monkeypatch, script: str):
    a_driver_tool(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tags = machine_tags()
    assert tags["gpu"] == NO_GPU
    assert "gpu.driver" not in tags
    assert int(tags["cpu.threads"]) >= 1
