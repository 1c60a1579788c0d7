"""Which route of the wire's table a request means. Found before anything else is done with it, so that a path outside
the table reaches nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentvine.wire.routes import Route


@dataclass(slots=True)
class _Node:
    fixed: dict[str, "_Node"] = field(default_factory=dict)
    name: str = ""
    """Of the parameter that any other segment is."""
    open: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)
    """By method."""


class RouteTable:
    """Finds routes by path. A fixed segment goes before a parameter, as `/keys/me` before `/keys/{key_id}`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def find(self, path: str) -> tuple[Mapping[str, Route], dict[str, str]]:
        """The routes with this path, by method, and the values of its parameters. No routes: there is no such path."""
        node, ids = self._root, {}
        for segment in path.split("/"):
            found = node.fixed.get(segment)
            if found is None:
                if node.open is None or not segment:
                    return {}, {}
                ids[node.name] = segment
                found = node.open
            node = found
        return node.routes, ids

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.full.split("/"):
            if segment.startswith("{"):
                name = segment.strip("{}")
                if node.open is None:
                    node.name, node.open = name, _Node()
                if node.name != name:
                    raise ValueError(f"{route.full} calls {{{node.name}}} by another name")
                node = node.open
            else:
                node = node.fixed.setdefault(segment, _Node())
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.full}")
        node.routes[route.method] = route
