"""How an answer is put into JSON: once, by its own type, where the handler ran, and not checked a second time."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute

from contimg.api.base import Answer


class Plain(APIRoute):
    """A route whose handler's `Answer` is written as JSON as it is.

    FastAPI would make plain values of it, check them against the type that they came from, and write them: 8 ms for a
    page of batches that takes 0.3 ms this way. A handler that sets headers on a `Response` of FastAPI's keeps its way.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **how: Any) -> None:
        own = inspect.iscoroutinefunction(endpoint) or "response" in inspect.signature(endpoint).parameters
        super().__init__(path, endpoint if own else _written(endpoint), **how)


def _written(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    def write(*args: Any, **kwargs: Any) -> Any:
        told = endpoint(*args, **kwargs)
        if isinstance(told, Answer):
            return Response(told.model_dump_json(), media_type="application/json")
        return told

    return write
