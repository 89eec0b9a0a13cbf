"""`/docs`: Swagger UI from this server's own files, for it may run where no CDN is reachable."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_ASSETS = "/docs/assets"
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")


def add_documentation(app: FastAPI) -> None:
    """Add `/docs`, which shows `/openapi.json`, and the files that it needs."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")  # the prefix that a proxy strips
        script, style, icon = (f"{root}{_ASSETS}/{name}" for name in _FILES)
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title}: documentation",
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url=icon,
            swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
        )

    package = find_spec("fastapi_offline")  # has the files of Swagger UI; it is not imported
    assert package is not None
    assert package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "static"
    app.mount(_ASSETS, StaticFiles(directory=folder), name="documentation")
