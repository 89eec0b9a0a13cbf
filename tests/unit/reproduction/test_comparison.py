"""What is compared of two versions, and in which order it is named."""

from __future__ import annotations

from pathlib import Path

from modelyard.registry.manifest import sha256_of
from modelyard.reproduction.comparison import (
    Mismatch,
    compare_files,
    compare_machines,
    compare_packages,
)
from modelyard.reproduction.reproduce import Reproduction


def test_only_a_package_of_another_version_counts():
    recorded = ["numpy==2.4.6", "torch==2.13.0+cpu", "modelyard==0.1.0", "only-there==1"]
    now = ["numpy==2.4.6", "torch==2.14.0", "modelyard==0.2.0", "only-here==1"]
    assert list(compare_packages(recorded, now)) == [
        Mismatch("package torch", "2.13.0+cpu", "2.14.0")
    ]


def test_another_cpu_type_and_another_gpu_count_where_they_are_on_record():
    now = {"cpu": "B", "gpu": "none"}
    assert list(compare_machines({"cpu": "A", "gpu": "none"}, now)) == [
        Mismatch("CPU type", "A", "B")
    ]
    assert list(compare_machines({}, now)) == []


def test_every_file_counts_but_those_that_never_are_the_same(tmp_path: Path):
    for name in ("MLmodel", "manifest.json", "contract.yaml", "model.onnx", "new.txt"):
        (tmp_path / name).write_text(name)
    registered = {
        "MLmodel": "another",
        "contract.yaml": sha256_of(tmp_path / "contract.yaml"),
        "gone.txt": "1" * 64,
        "model.onnx": "2" * 64,
    }
    found = [mismatch.what for mismatch in compare_files(registered, tmp_path)]
    assert found == ["model.onnx", "gone.txt", "new.txt"]


def test_the_first_mismatch_is_the_cause_before_the_effect():
    package, model = Mismatch("package torch", "1", "2"), Mismatch("model.onnx", "a", "b")
    assert Reproduction("1", (package,), (model,), {}).first_mismatch() == package
    assert Reproduction("1", (), (model,), {}).first_mismatch() == model
    assert Reproduction("1", (package,), (), {}).identical
