"""The properties of a machine that can change the result of a training."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

UNKNOWN = "unknown"
NO_GPU = "none"
_COMMAND_TIMEOUT_S = 10
_CPUINFO = Path("/proc/cpuinfo")


def machine_tags() -> Mapping[str, str]:
    """CPU type, threads, GPU and driver as tags of a run.

    Where torch is already imported, its instruction set, threads and devices are among them.
    """
    tags = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_type(),
        "cpu.threads": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        "gpu": NO_GPU,
        **_nvidia_tags(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        tags["cpu.capability"] = torch.backends.cpu.get_cpu_capability()
        tags["cpu.threads"] = str(torch.get_num_threads())
        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            tags["gpu"] = ", ".join(names)
            tags["gpu.cuda"] = str(torch.version.cuda)
    return tags


def cpu_type(cpuinfo: Path = _CPUINFO) -> str:
    """Name, family and model of the CPU: results are only bit-identical on the same type."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    first = dict(re.findall(r"(?m)^([^\t:]+?)\s*:[ \t]*(.*)$", text.split("\n\n")[0]))
    if name := first.get("model name", ""):
        return f"{name} (family {first.get('cpu family', '?')}, model {first.get('model', '?')})"
    if part := first.get("CPU part", ""):  # ARM has no model name
        return f"ARM implementer {first.get('CPU implementer', '?')}, part {part}"
    if platform.system() == "Darwin":
        return _output_of("sysctl", "-n", "machdep.cpu.brand_string") or UNKNOWN
    return platform.processor() or platform.machine() or UNKNOWN


def _nvidia_tags() -> dict[str, str]:
    """GPU names and driver version from `nvidia-smi`."""
    listed = _output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    rows = [line.rpartition(", ") for line in listed.splitlines() if ", " in line]
    if not rows:
        return {}
    return {"gpu": ", ".join(name for name, _, _ in rows), "gpu.driver": rows[0][2]}


def _output_of(program: str, *arguments: str) -> str:
    """What `program` prints; empty where it is missing or fails."""
    found = shutil.which(program)
    if found is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [found, *arguments],
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
