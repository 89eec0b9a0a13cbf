"""The serving process: it serves what `MODEL_URI` means, until SIGTERM.

One process with one worker; more of them are more containers. SIGTERM makes it not ready at once;
after `SERVING_DRAIN_S` it closes its port and lets the requests that are under way finish, for at
most `FINISH_S` seconds.
"""

from __future__ import annotations

import gc
import logging
import socket
from functools import partial

import uvicorn

from modelyard.errors import ConfigError
from modelyard.logs import configure_logs, log_error
from modelyard.program import run_server
from modelyard.registry import RegistryClient, parse_model_uri
from modelyard.registry.transfer import TransferLimits
from modelyard.scoring.child.opening import ChildOptions
from modelyard.scoring.proof import ProofLimits
from modelyard.serving.allocator import configure_allocator
from modelyard.serving.app import create_app
from modelyard.serving.following.cache import VersionCache
from modelyard.serving.following.follower import Follower
from modelyard.serving.following.loader import Loader
from modelyard.serving.model.holder import Holder
from modelyard.serving.undumpable import withhold_memory
from modelyard.serving.web.connection import Connection
from modelyard.serving.web.drain import DrainingServer
from modelyard.settings import ServingSettings, read_settings

FINISH_S = 15
_BACKLOG = 2048
_KEEP_ALIVE_S = 75  # longer than the gateway's, so that the gateway is the one that closes

log = logging.getLogger("modelyard.serving")


def main() -> int:
    """Serve; the exit code is that of the error that kept it from starting, else 0."""
    configure_logs()  # as they are until the settings are read
    return run_server(lambda: serve(read_settings(ServingSettings)), log_error)


def serve(settings: ServingSettings) -> None:
    """Put the server together and run it until it is told to stop.

    Raises:
        ConfigError: the address, the cache folder or the port cannot be used.
    """
    configure_allocator()
    withhold_memory()
    configure_logs(settings.log_level, settings.log_format)
    uri = parse_model_uri(settings.model_uri)
    cache = VersionCache(settings.cache_dir, settings.cache_versions)
    cache.prepare()
    with RegistryClient.of(settings) as registry:
        loader = Loader(
            uri,
            registry,
            cache,
            require_manifest=settings.require_manifest,
            allow_schema_change=settings.allow_schema_change,
            children=ChildOptions.of(settings),
            transfer=TransferLimits(settings.download_timeout_s, settings.max_version_mb * 2**20),
            proof=ProofLimits.of(settings),
        )
        holder = Holder()
        follower = Follower(loader, holder, settings.poll_interval_s)
        app = create_app(settings, holder, follower)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=partial(Connection, app.direct, settings.max_connections),  # type: ignore[arg-type]  # called like a class
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=FINISH_S,
            backlog=_BACKLOG,
        )
        listener = _listen(settings.host, settings.port)
        log.info(
            "Follows %s at %s; listens on port %d.",
            uri,
            registry.tracking_uri,
            listener.getsockname()[1],
        )
        gc.freeze()  # what was imported lives as long as the process: never look through it again
        gc.enable()
        try:
            DrainingServer(config, app.direct.drain, settings.drain_s).run(sockets=[listener])
        finally:  # uvicorn raises the signal that ended it again
            log.info("Stopped.")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"Port {port} on {host} cannot be used ({error.strerror}).",
            fix="Stop what listens there, or set SERVING_PORT to another one.",
        ) from error
