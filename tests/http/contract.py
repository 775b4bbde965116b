"""openapi.yaml as a judge of answers: is this one documented, to the letter?

`check_answer()` knows the operation by method and path and holds against it the status, the media type,
the body against its schema, and the headers: those it has are documented, those that are `required`
are there. What may answer any request, whatever its operation, stands under `x-any-request`. Of a stream
of events each is held against the schema of its name.
"""

import functools
import json
import re

import jsonschema
import yaml

METHODS = ("get", "head", "post", "put", "patch", "delete")

with open("openapi.yaml", encoding="utf-8") as f:
    DOCUMENT = yaml.safe_load(f)
ANY = DOCUMENT["x-any-request"]
_RESOLVER = jsonschema.RefResolver("", DOCUMENT)


class Operation:
    """One method of one path."""

    def __init__(self, path, method, node):
        self.path, self.method, self.node = path, method.upper(), node
        self.id, self.responses = node["operationId"], node["responses"]
        item = DOCUMENT["paths"][path]
        self.parameters = [resolve(p) for p in
                           item.get("parameters", []) + node.get("parameters", [])]
        self.body_types = node.get("requestBody", {}).get("content", {})

    def __repr__(self):
        return self.id


def resolve(node):
    """The node itself, or what its $ref stands for."""
    while "$ref" in node:
        target = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def text_of(value):
    """A value as the text of a parameter."""
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    return value if isinstance(value, str) else json.dumps(value)


OPERATIONS = [Operation(path, method, item[method]) for path, item in DOCUMENT["paths"].items()
              for method in METHODS if method in item]


def _events(content):
    """The schemas of a stream's events by their names."""
    return resolve(content["schema"])["contentSchema"]["properties"]


# What each stream of events may tell, by operationId.
EVENTS = {op.id: _events(content) for op in OPERATIONS
          for media_type, content in resolve(op.responses.get("200", {})).get("content", {}).items()
          if media_type == "text/event-stream"}


@functools.lru_cache(None)
def _validator(key):
    schema = json.loads(key)
    return jsonschema.Draft202012Validator(schema, resolver=_RESOLVER)


def validate(instance, schema):
    """Raise jsonschema.ValidationError unless the instance is as the schema says."""
    _validator(json.dumps(schema)).validate(instance)


def is_valid(instance, schema):
    return _validator(json.dumps(schema)).is_valid(instance)


@functools.lru_cache(None)
def _pattern(path):
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


def find_operations(target):
    """{method: operation} of all that a request's target has, whether or not it names the host; HEAD with
    GET's where it has none of its own; empty where there is nothing."""
    origin = re.match(r"https?://[^/?]+", target, re.IGNORECASE)
    path = target[origin.end() if origin else 0:].partition("?")[0]
    if origin and not path:
        path = "/"
    found = {o.method: o for o in OPERATIONS if _pattern(o.path).fullmatch(path)}
    if "GET" in found:
        found.setdefault("HEAD", found["GET"])
    return found


def _documented(method, target, status):
    """The responses that may have this status, the operation's own first."""
    found = find_operations(target)
    if method in found:
        own = found[method].responses
    elif method == "OPTIONS" and (found or target == "*"):
        own = ANY["options"]
    else:
        own = ANY["noOperation"]
        assert status != (404 if found else 405), "that is said where it is not so"
    nodes = (own.get(str(status)), ANY["anyPath"].get(str(status)))
    responses = [resolve(node) for node in nodes if node]
    assert responses, f"{status} is not documented of {method} {target[:200]}"
    return responses


def _check_headers(response, headers, media_type):
    documented = {name.lower(): resolve(node) for name, node in
                  {**ANY["headers"], **response.get("headers", {})}.items()}
    names = {name.lower() for name in headers.keys()}
    assert names <= set(documented), f"not documented: {names - set(documented)}"
    for name, header in documented.items():
        if name not in names:
            # Only a whole answer has what is known in the end: a stream of events has begun before.
            late = media_type == "text/event-stream"
            assert late or not header.get("required"), f"{name} is missing"
            continue
        schema, value = resolve(header["schema"]), headers[name]
        if schema.get("type") == "integer":
            assert re.fullmatch("0|[1-9][0-9]*", value), (name, value)
            value = int(value)
        validate(value, schema)


def parse_events(lines):
    """The Server-Sent Events of a stream, as far as it goes: dicts with event ("message" where none is
    said), data (JSON, or the text where it is none) and perhaps id. Comments are left out."""
    event = {}
    for line in lines:
        line = line.decode() if isinstance(line, bytes) else line
        if line.startswith(":"):
            continue
        if not line:
            if event:
                yield {"event": "message", **event}
            event = {}
            continue
        key, value = line.split(": ", 1)
        assert key in ("event", "id", "data") and key not in event, line
        if key == "data":
            try:
                value = json.loads(value)
            except ValueError:
                pass
        event[key] = value


def check_events(lines, documented):
    """As parse_events(), and each is one of the `documented`, to the letter."""
    for event in parse_events(lines):
        assert event["event"] in documented, f"{event['event']} is not documented"
        validate(event["data"], documented[event["event"]])
        yield event


def _check_body(response, status, headers, body):
    media_type = headers.get("Content-Type", "").partition(";")[0]
    content = response.get("content", {})
    if not content or status == 304:
        assert not body and not media_type, (status, media_type, body[:100])
        return
    assert media_type in content, f"{media_type} is not documented of {status}"
    if body is None:
        return
    if media_type.endswith("json"):
        document = json.loads(body)
        validate(document, content[media_type]["schema"])
        if media_type == "application/problem+json":
            assert document["status"] == status
    elif media_type in ("image/png", "image/apng"):
        assert body.startswith(b"\x89PNG\r\n\x1a\n") and body.endswith(b"IEND\xaeB`\x82")
    elif media_type == "application/zip":
        assert body.startswith(b"PK\3\4") and b"PK\5\6" in body[-22:]
    elif media_type == "multipart/mixed":
        boundary = re.search('boundary="?([^";]+)', headers["Content-Type"])[1].encode()
        assert body.startswith(b"--" + boundary) and b"--" + boundary + b"--" in body[-80:]
    elif media_type == "text/event-stream":
        assert body.endswith(b"\n\n")
        assert list(check_events(body.decode().split("\n"), _events(content[media_type])))
    else:
        body.decode()


def check_answer(method, target, status, headers, body):
    """The answer is documented. `headers` is a mapping that ignores case; `body` is None where it was
    not read."""
    media_type = headers.get("Content-Type", "").partition(";")[0]
    faults = []
    for response in _documented(method, target, status):
        try:
            _check_headers(response, headers, media_type)
            if method != "HEAD":
                _check_body(response, status, headers, body)
            else:
                assert not body
            return
        except (AssertionError, jsonschema.ValidationError) as fault:
            faults.append(str(fault))
    raise AssertionError(f"{method} {target[:200]}: {status}: " + "; or: ".join(faults))
