"""Who serves what: our routes, the peers in their recommended form, and the two limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import dialects
from benchmarks.serving.dialects import Dialect
from benchmarks.serving.environments import OURS, python_of
from benchmarks.serving.models import Models
from benchmarks.serving.network import free_port
from benchmarks.serving.places import BENCHMARKS, PEERS, ROOT, STATE
from benchmarks.serving.registry import ALIAS, Registry
from benchmarks.serving.servers import Program

_BATCH_ROWS = 64
_V2_MODEL = "bench"


@dataclass(frozen=True)
class Host:
    """A server that can be started on a port; several contestants may share one."""

    name: str
    program: Callable[[int], Program]


@dataclass(frozen=True)
class Contestant:
    """One row of the table: a server, and the way it is asked."""

    name: str
    host: Host
    dialect: Dialect
    is_ours: bool = False
    is_limit: bool = False


def ours(registry: Registry, name: str, *, cache: str = "", token: Path | None = None) -> Host:
    """Modelyard as its image runs it.

    Metrics, logs (of predictions too), limits, request ids and deadlines are on.
    """

    def program(port: int) -> Program:
        environment = {
            "PYTHONPATH": str(ROOT / "src"),
            "MLFLOW_TRACKING_URI": registry.url,
            "MODEL_URI": f"models:/{name}@{ALIAS}",
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(port),
            "SERVING_CACHE_DIR": str(STATE / "cache" / (cache or f"{name}-{port}")),
            "SERVING_PREDICTION_LOG_DIR": str(STATE / "predictions"),
        }
        if token is not None:
            environment["SERVING_ADMIN_TOKEN_FILE"] = str(token)
        command: list[str | Path] = [python_of(OURS), "-m", "modelyard.serving"]
        return Program(f"modelyard-{name}", command, environment, STATE)

    return Host(f"modelyard-{name}", program)


def mlflow(model: Path) -> Host:
    """`mlflow models serve`, one worker for one core."""

    def program(port: int) -> Program:
        command: list[str | Path] = [
            python_of("mlflow").parent / "mlflow",
            "models",
            "serve",
            "-m",
            model,
        ]
        command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"]
        path = f"{python_of('mlflow').parent}:/usr/bin:/bin"
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
        return Program(f"mlflow-{_label(model)}", command, environment, STATE)

    return Host(f"mlflow-{_label(model)}", program)


def mlserver(model: Path, implementation: str, name: str) -> Host:
    """MLServer with adaptive batching; no pool of processes, which one core has no use for.

    Of 1, 10 and 100 ms to wait for a batch, none is better than another by a sixth.
    """

    def program(port: int) -> Program:
        folder = STATE / "mlserver" / name
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": 0,
        }
        model_settings = {
            "name": _V2_MODEL,
            "implementation": implementation,
            "parameters": {"uri": str(model)},
            "max_batch_size": _BATCH_ROWS,
            "max_batch_time": 0.01,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(model_settings))
        command: list[str | Path] = [python_of("mlserver").parent / "mlserver", "start", folder]
        return Program(f"mlserver-{name}", command, {"PYTHONPATH": str(PEERS)}, STATE)

    return Host(f"mlserver-{name}", program)


def bentoml(model: Path, kind: str) -> Host:
    """BentoML with adaptive batching, one worker."""

    def program(port: int) -> Program:
        command: list[str | Path] = [
            python_of("bentoml").parent / "bentoml",
            "serve",
            "bentoml_service:Bench",
        ]
        command += ["--working-dir", PEERS, "--host", "127.0.0.1", "--port", str(port)]
        home = STATE / "bentoml"
        home.mkdir(exist_ok=True)
        environment = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true"}
        return Program(f"bentoml-{kind}", command, environment | _user_code(model, kind), STATE)

    return Host(f"bentoml-{kind}", program)


def litserve(model: Path, kind: str) -> Host:
    """LitServe with batching, one worker."""

    def program(port: int) -> Program:
        command: list[str | Path] = [python_of("litserve"), PEERS / "litserve_server.py", str(port)]
        return Program(f"litserve-{kind}", command, _user_code(model, kind), STATE)

    return Host(f"litserve-{kind}", program)


def mosec(model: Path, kind: str) -> Host:
    """Mosec with dynamic batching, one worker behind its front end."""

    def program(port: int) -> Program:
        command: list[str | Path] = [python_of("mosec"), PEERS / "mosec_server.py"]
        command += ["--address", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
        return Program(f"mosec-{kind}", command, _user_code(model, kind), STATE)

    return Host(f"mosec-{kind}", program)


def _user_code(model: Path, kind: str) -> dict[str, str]:
    environment = {"BENCH_MODEL": str(model), "BENCH_KIND": kind, "PYTHONPATH": str(PEERS)}
    return environment | {"MLFLOW_DISABLE_TELEMETRY": "true"}


def _limit(name: str) -> Host:
    def program(port: int) -> Program:
        script = BENCHMARKS / "limits" / f"{name}.py"
        return Program(name, [python_of(OURS), script, str(port)], {}, STATE)

    return Host(name, program)


def _label(model: Path) -> str:
    return "-".join(model.parts[-2:])


def small(models: Models, registry: Registry) -> list[Contestant]:
    """The small network."""
    graph = models.path("small/onnx/model.onnx")
    pyfunc = models.path("small/pyfunc")
    host = ours(registry, "small")
    return [
        Contestant(
            "constant from raw uvicorn", _limit("raw_uvicorn"), dialects.one_row(), is_limit=True
        ),
        Contestant("FastAPI echo", _limit("fastapi_echo"), dialects.one_row(), is_limit=True),
        Contestant("Modelyard /predict", host, dialects.native(), is_ours=True),
        Contestant("Modelyard /invocations", host, dialects.invocations(), is_ours=True),
        Contestant("Modelyard V2, JSON", host, dialects.v2("small"), is_ours=True),
        Contestant("Modelyard V2, binary", host, dialects.v2_binary("small"), is_ours=True),
        Contestant("mlflow models serve", mlflow(pyfunc), dialects.invocations()),
        Contestant(
            "mlflow models serve, scikit-learn form",
            mlflow(models.path("small/numpy")),
            dialects.invocations(),
        ),
        Contestant(
            "MLServer (MLflow runtime)",
            mlserver(pyfunc, "mlserver_mlflow.MLflowRuntime", "pyfunc"),
            dialects.v2(_V2_MODEL, pandas=True),
        ),
        Contestant(
            "MLServer (onnxruntime)",
            mlserver(graph, "mlserver_onnx.OnnxRuntime", "onnx"),
            dialects.v2(_V2_MODEL),
        ),
        Contestant("BentoML", bentoml(graph, "onnx"), dialects.bentoml()),
        Contestant("LitServe", litserve(graph, "onnx"), dialects.one_row()),
        Contestant("mosec", mosec(graph, "onnx"), dialects.one_row()),
    ]


def forest(models: Models, registry: Registry) -> list[Contestant]:
    """The forest of 200 trees."""
    pipeline = models.path("forest/model.joblib")
    compiled, child = ours(registry, "forest"), ours(registry, "forest-sklearn")
    return [
        Contestant("Modelyard /predict, compiled", compiled, dialects.native(), is_ours=True),
        Contestant("Modelyard /predict, child", child, dialects.native(), is_ours=True),
        Contestant(
            "mlflow models serve", mlflow(models.path("forest/sklearn")), dialects.invocations()
        ),
        Contestant(
            "MLServer (sklearn runtime)",
            mlserver(pipeline, "mlserver_sklearn.SKLearnModel", "forest"),
            dialects.v2(_V2_MODEL, outputs="predict_proba", pandas=True),
        ),
        Contestant("BentoML", bentoml(pipeline, "forest"), dialects.bentoml()),
        Contestant("LitServe", litserve(pipeline, "forest"), dialects.one_row()),
        Contestant("mosec", mosec(pipeline, "forest"), dialects.one_row()),
    ]


def pyfunc(models: Models, registry: Registry) -> list[Contestant]:
    """Any MLflow model: the small network behind code that only pyfunc can run."""
    folder = models.path("small/pyfunc")
    return [
        Contestant(
            "Modelyard /predict, child", ours(registry, "pyfunc"), dialects.native(), is_ours=True
        ),
        Contestant("mlflow models serve", mlflow(folder), dialects.invocations()),
        Contestant(
            "MLServer (MLflow runtime)",
            mlserver(folder, "mlserver_mlflow.MLflowRuntime", "pyfunc"),
            dialects.v2(_V2_MODEL, pandas=True),
        ),
        Contestant("BentoML", bentoml(folder, "pyfunc"), dialects.bentoml()),
        Contestant("LitServe", litserve(folder, "pyfunc"), dialects.one_row()),
        Contestant("mosec", mosec(folder, "pyfunc"), dialects.one_row()),
    ]


PUBLISHED = {
    "small": "small/onnx",
    "pyfunc": "small/pyfunc",
    "forest": "forest/onnx",
    "forest-sklearn": "forest/sklearn",
}
"""Registered model → its package; what cannot be compiled is not there."""
