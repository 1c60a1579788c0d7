"""What a forge publishes about its API, as far as it is used here, and how a request or an answer is held against it.

GitHub's is its OpenAPI description, fetched by `scripts/fetch_openapi.sh`. No package carries those of GitLab and
Gitea: what is used of them is recorded in `gitlab.json` and `gitea.json`, in the same form, with its source.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema  # type: ignore[import-untyped]

_RECORDED = Path(__file__).parent
_NUMBERS = {"integer": int, "number": float}


class Description:
    """The paths and schemas of an OpenAPI 3 document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def request(self, method: str, path: str, query: str, body: Any) -> Iterator[str]:
        """What is wrong with a request to `path`, one of the document's templates."""
        operation = self._operation(method, path)
        if operation is None:
            yield f"{method} {path} is not described"
            return
        known = {one["name"]: one["schema"] for one in self._parameters(path, operation) if one["in"] == "query"}
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name not in known:
                yield f"{method} {path}: no parameter '{name}' is described"
            else:
                yield from self._mismatches(known[name], _read(text, known[name]), f"{method} {path}?{name}")
        content = self._at(operation.get("requestBody", {})).get("content", {}).get("application/json")
        if body is None:
            return
        if content is None:
            yield f"{method} {path}: no body is described"
        else:
            yield from self._mismatches(content["schema"], body, f"{method} {path}: body")
            yield from self._unknown(content["schema"], body, f"{method} {path}: body")

    @cache  # noqa: B019
    def judged(self, method: str, path: str, status: int, body: str) -> tuple[str, ...]:
        """As `answer`, of a body in JSON; the same one is looked at once."""
        return tuple(self.answer(method, path, status, json.loads(body)))

    def answer(self, method: str, path: str, status: int, body: Any) -> Iterator[str]:
        """What is wrong with an answer."""
        operation = self._operation(method, path)
        gone = method == "DELETE" and status == 404
        if operation is None or gone or status in {301, 401, 403} or status >= 429:
            return  # descriptions leave out what every call may answer
        described = operation["responses"].get(str(status))
        if described is None:
            yield f"{method} {path}: the status {status} is not described"
            return
        content = self._at(described).get("content", {})
        chosen = next((content[kind] for kind in content if kind.endswith("json")), None)
        if chosen is not None and "schema" in chosen:
            yield from self._mismatches(chosen["schema"], body, f"{method} {path}: answer {status}")

    @cache  # noqa: B019 - descriptions live as long as the process
    def example(self, method: str, path: str, status: int) -> Any:
        """The first example of an answer; whoever changes it makes a copy."""
        operation = self._operation(method, path) or {}
        content = self._at(operation["responses"][str(status)])["content"]["application/json"]
        first = next(iter(content["examples"].values()))
        return self._at(first)["value"]

    def _operation(self, method: str, path: str) -> Any:
        return self._document["paths"].get(path, {}).get(method.lower())

    def _parameters(self, path: str, operation: Any) -> list[Any]:
        both = [*self._document["paths"][path].get("parameters", []), *operation.get("parameters", [])]
        return [self._at(one) for one in both]

    def _at(self, described: Any) -> Any:
        """What is described, or what the reference leads to."""
        while "$ref" in described:
            found: Any = self._document
            for name in described["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            described = found
        return described

    def _mismatches(self, schema: Any, value: Any, where: str) -> Iterator[str]:
        for error in self._validator(json.dumps(schema)).iter_errors(value):
            at = "/".join(map(str, error.path))
            yield f"{where}: {at}: {error.message[:300]}"

    def _unknown(self, schema: Any, value: Any, where: str) -> Iterator[str]:
        """Properties that no schema names: forges ignore them, so a slip of the pen would go unnoticed."""
        plain = self._at(schema)
        if isinstance(value, list) and "items" in plain:
            for one in value:
                yield from self._unknown(plain["items"], one, where)
        elif isinstance(value, dict) and "properties" in plain:
            for name, one in value.items():
                if name not in plain["properties"]:
                    yield f"{where}: no property '{name}' is described"
                else:
                    yield from self._unknown(plain["properties"][name], one, f"{where}/{name}")

    @cache  # noqa: B019 - descriptions live as long as the process
    def _validator(self, schema: str) -> Any:
        return jsonschema.Draft202012Validator({**_modern(json.loads(schema)), "components": self._components()})

    @cache  # noqa: B019
    def _components(self) -> Any:
        return {"schemas": _modern(self._document.get("components", {}).get("schemas", {}))}


@cache
def recorded(name: str) -> Description:
    """The one that was recorded for `name`."""
    return Description(json.loads((_RECORDED / f"{name}.json").read_bytes()))


@cache
def in_file(path: Path) -> Description:
    """The one in a file."""
    return Description(json.loads(path.read_bytes()))


def _read(text: str, schema: Mapping[str, Any]) -> Any:
    """A query's value as what its schema says it is."""
    try:
        return _NUMBERS.get(schema.get("type", ""), str)(text)
    except ValueError:
        return text


def _modern(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema: `nullable` becomes a type."""
    if isinstance(schema, list):
        return [_modern(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _modern(one) for name, one in schema.items()}
    if told.get("nullable") is not True:
        return told
    del told["nullable"]
    return {"anyOf": [told, {"type": "null"}]}
