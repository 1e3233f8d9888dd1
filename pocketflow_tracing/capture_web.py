"""How what web frameworks hand to a view is read: a request says what was asked, and its application is named only.

An application leads to every route and model of the program, thousands of objects that no flow is about. As in
`capture_builtins`, through the class that a reader is registered for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capture_kinds import Shape, kind
from .capture_types import Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk


@kind(
    "starlette.applications.Starlette",
    "starlette.routing.Router",
    "starlette.routing.BaseRoute",
    "fastapi.dependencies.models.Dependant",
    "flask.app.Flask",
    "flask.sansio.app.App",
    "werkzeug.routing.map.Map",
    "django.urls.resolvers.URLResolver",
    "django.urls.resolvers.URLPattern",
    "django.core.handlers.base.BaseHandler",
    "aiohttp.web_app.Application",
)
def _read_application(_value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {})
