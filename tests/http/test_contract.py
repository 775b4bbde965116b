"""Every operation, parameter and response of openapi.yaml, brought about in the running daemon.

A response that openapi.yaml documents must be provoked here, in every media type that it has, and what
comes back is held against the document (contract.py). So a new response needs a provocation:

- Most need none of their own: GENERAL has, for a status, what provokes it in any operation, made from
  the examples in openapi.yaml (a body's first one, a path parameter's).
- Else add a line to SPECIAL, by operationId and status: functions that take the World and return an
  answer of that status, one for each media type.
- UNPROVOKED is for what no request can bring about, with the reason.

What a parameter needs beside it goes into COMPANIONS.
"""

import json
import shutil
import urllib.parse

import pytest
import requests

from . import contract, wire
from .conftest import DEADLINE_S, ENDLESS, FEW, MODEL, Daemon, Hold, preloaded, wait_for, write_model
from .schema import invalid_values
from .test_verify import change

SMALL = {"label": 1, "steps": 1, "guidance_scale": 1}
# A job that can be had in every form.
FILMED = {**SMALL, "id": "digits-1", "n": 2, "layout": "grid", "format": "apng"}
KEY = "ada-0123456789abcdef"
JSON = {"Content-Type": "application/json"}


class World:
    """The daemons that it takes, each started when it is first asked for."""

    def __init__(self, folder):
        self.folder, self.daemons = folder, {}

    def start(self, name, *arguments, **more):
        folder = self.folder / name
        folder.mkdir()
        self.daemons[name] = Daemon(folder, "--admin-listen", f"unix:{folder}/admin.sock",
                                    *map(str, arguments), **more)
        return self.daemons[name]

    def address(self, name, target="/"):
        if name not in self.daemons:
            getattr(self, "start_" + name)()
        if target.startswith("/admin"):
            return str(self.folder / name / "admin.sock")
        daemon = self.daemons[name]
        return getattr(daemon, "path", None) or (daemon.host, daemon.port)

    def start_plain(self):
        """With a job that succeeded, named as in the examples."""
        few = self.folder / "few.safetensors"
        write_model(few, FEW)
        self.start("plain", "--model", few)
        self.post("/v1/jobs", FILMED)
        self.finish("plain", "digits-1")

    def start_full(self):
        """Room for one job, which never ends, and so for no row; before it there was another."""
        self.start("full", "--max-jobs", 1, "--max-rows-per-request", 64, "--max-queue-rows", 64,
                   "--request-timeout-s", 1, "--drain-timeout-s", 0)
        self.post("/v1/jobs", {**SMALL, "id": "gone"}, name="full")
        self.finish("full", "gone")
        assert self.post("/v1/jobs", {**ENDLESS, "id": "endless"}, name="full").status == 202

    def start_keyed(self):
        keys = self.folder / "keys"
        keys.write_text(f"ada {KEY} rows-per-minute=1 priority=low\n")
        self.start("keyed", "--api-keys-file", keys, "--metrics-need-key", "on")

    def start_loading(self):
        self.hold = Hold(self.folder / "hold")
        path = str(self.folder / "loading.sock")
        daemon = self.start("loading", listen="unix:" + path, wait=False,
                            variables=preloaded(HOLD_MODELS=self.hold.path))
        daemon.path = path

        def answers():
            try:
                return self.ask("GET", "/livez", name="loading").status == 200
            except OSError:
                return False

        wait_for(answers, "the loading daemon to listen")

    def start_seedless(self):
        self.start("seedless", variables=preloaded(NO_SEEDS="1"))

    def ask(self, method, target, headers=(), body=None, name="plain"):
        answer = wire.ask(self.address(name, target), method, target, headers, body)
        contract.check_answer(method, target, answer.status, answer.headers, answer.body)
        return answer

    def post(self, target, document, name="plain", **headers):
        headers = {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.ask("POST", target, headers, json.dumps(document).encode(), name)

    def finish(self, name, job):
        answer = self.ask("GET", f"/v1/jobs/{job}?wait=60", name=name)
        assert answer.json()["status"] == "succeeded"

    def picture(self):
        return self.ask("GET", "/v1/samples/7.png?seed=1&steps=1").body

    def stop(self):
        if "loading" in self.daemons:
            self.hold.release()
            self.daemons["loading"].await_line()
        for daemon in self.daemons.values():
            daemon.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.stop()


# ---- what provokes a response in any operation --------------------------------------------------

def target_of(op, path=None, query=None):
    """The operation's path with its parameters' examples, or `path` for some of them."""
    values = {p["name"]: p["example"] for p in op.parameters if p["in"] == "path"}
    values.update(path or {})
    target = op.path
    for name, value in values.items():
        target = target.replace("{%s}" % name, urllib.parse.quote(str(value), safe=""))
    query = {name: contract.text_of(value) for name, value in (query or {}).items()}
    return target + ("?" + urllib.parse.urlencode(query) if query else "")


def body_of(op, world):
    """(media type, body) as in the operation's first example without an id; (None, None) where it takes none."""
    for media_type, content in op.body_types.items():
        if media_type == "image/png":
            return media_type, world.picture()
        values = (example["value"] for example in content["examples"].values())
        example = next(value for value in values if "id" not in value)  # one that makes a job each time
        return media_type, json.dumps(example).encode()
    return None, None


def ask(op, world, name="plain", headers=(), path=None, query=None, body=None):
    """The operation's example, but for what is said."""
    media_type, example = body_of(op, world)
    headers = dict(headers)
    if media_type:
        headers.setdefault("Content-Type", media_type)
        body = example if body is None else body
    return world.ask(op.method, target_of(op, path, query), headers, body, name)


def bad_request(op, world):
    if op.body_types:
        return ask(op, world, body=b"{")
    if op.method == "HEAD":
        return ask(op, world, query={"nope": 1})
    return ask(op, world, body=b"x")


def not_modified(op, world):
    wants_page = {"Accept": "text/html"} if "text/html" in op.responses["200"].get("content", {}) else {}
    query = {"seed": 1, "steps": 1} if any(p["name"] == "seed" for p in op.parameters) else {}
    tag = ask(op, world, query=query, headers=wants_page).headers["ETag"]
    return ask(op, world, query=query, headers={**wants_page, "If-None-Match": tag})


def unknown_resource(op, world):
    return ask(op, world, path={p["name"]: "none" for p in op.parameters if p["in"] == "path"})


def too_slow(op, world):
    """A body that is announced and does not come."""
    return ask(op, world, "full", {"Content-Length": "50"}, body=b"")


def no_length(op, world):
    return world.ask(op.method, target_of(op), {"Content-Type": body_of(op, world)[0]})


def beyond_quota(op, world):
    """A row a minute: at the third request, at the latest."""
    for _ in range(3):
        answer = ask(op, world, "keyed", {"X-API-Key": KEY})
        if answer.status == 429:
            break
    return answer


GENERAL = {
    "200": lambda op, w: ask(op, w),
    "304": not_modified,
    "400": bad_request,
    "401": lambda op, w: ask(op, w, "keyed"),
    "404": unknown_resource,
    "406": lambda op, w: ask(op, w, headers={"Accept": "audio/ogg"}),
    "408": too_slow,
    "411": no_length,
    "413": lambda op, w: ask(op, w, headers={"Content-Length": str(9 << 20), "Expect": "100-continue"}, body=b""),
    "415": lambda op, w: ask(op, w, headers={"Content-Type": "text/html"}),
    "409": lambda op, w: ask(op, w, "full", path={"id": "endless"}),
    "410": lambda op, w: ask(op, w, "full", path={"id": "gone"}),
    "417": lambda op, w: ask(op, w, headers={"Expect": "miracles"}),
    "429": beyond_quota,
    "500": lambda op, w: ask(op, w, "seedless"),
    "503": lambda op, w: ask(op, w, "loading"),
}


# ---- what has to be provoked in its own way -----------------------------------------------------

def accepting(*media_types, **parts):
    """The same request once for each media type."""
    return [lambda w, t=t: ask(BY_ID[parts["op"]], w, headers={"Accept": t}) for t in media_types]


def same_key(world, target, second):
    """The same Idempotency-Key with another body, after the first was answered."""
    world.post(target, {**second, "seed": 1}, Idempotency_Key="one-" + target[-4:])
    return world.post(target, second, Idempotency_Key="one-" + target[-4:])


def busy_key(world, target, document):
    """The same Idempotency-Key while the first request is at work."""
    address = world.address("plain")
    body = json.dumps(document).encode()
    request = wire.request_bytes("POST", target, {**JSON, "Idempotency-Key": "busy"}, body)
    with wire.connect(address) as first:
        first.sendall(request)
        wait_for(lambda: world.daemons["plain"].metric("queue_jobs") == 1, "the first to begin")
        answer = world.ask("POST", target, {**JSON, "Idempotency-Key": "busy"}, body)
    wait_for(lambda: world.daemons["plain"].metric("queue_jobs") == 0, "the first to end")
    return answer


def created_job(world):
    return world.post("/v1/jobs", SMALL).json()["id"]


def after_the_last_event(world):
    stream = world.ask("GET", "/v1/jobs/digits-1/events").body.decode()
    last = stream.rpartition("\nid: ")[2].partition("\n")[0]
    return world.ask("GET", "/v1/jobs/digits-1/events", {"Last-Event-ID": last})


def other_model(world):
    """The picture of a model that is not here."""
    digest = "sha256:" + "0" * 64
    return change(world.picture(), model={"id": "other", "digest": digest})


def impossible(world, target, document):
    """What an evaluation takes is known from the first step on."""
    world.post("/v1/samples", SMALL)
    return world.post(target, {**document, "timeout_ms": 1})


def too_high(world, target, document):
    """A priority that the key does not have."""
    return world.post(target, {**document, "priority": "high"}, name="keyed", X_API_Key=KEY)


def new_model(world, name="digits"):
    """A model file that is no daemon's yet, or what is in it by now."""
    path = world.folder / f"{name}.safetensors"
    if not path.exists():
        shutil.copy(MODEL, path)
    return str(path.absolute())


def loaded_model(world, name):
    answer = world.post("/admin/models", {"path": new_model(world, name)})
    assert answer.status in (200, 201)
    return name


BY_ID = {op.id: op for op in contract.OPERATIONS}
IMAGES = "/v1/images/generations"
ENDLESS_IMAGES = {"prompt": "7", "n": 64, "num_inference_steps": 1000, "sampler": "ddpm"}
SPECIAL = {
    ("discover", "200"): accepting("application/json", "text/html", op="discover"),
    ("createSamples", "200"): accepting("application/json", "image/png", "image/apng", "application/zip",
                                        "multipart/mixed", "text/event-stream", op="createSamples"),
    ("createSamples", "202"): [lambda w: w.post("/v1/samples", SMALL, Prefer="respond-async")],
    ("createSamples", "403"): [lambda w: too_high(w, "/v1/samples", SMALL)],
    ("createSamples", "404"): [lambda w: w.post("/v1/samples", {**SMALL, "model": "none"})],
    ("createSamples", "409"): [lambda w: busy_key(w, "/v1/samples", ENDLESS)],
    ("createSamples", "422"): [lambda w: same_key(w, "/v1/samples", SMALL)],
    ("createSamples", "504"): [lambda w: impossible(w, "/v1/samples", ENDLESS)],
    ("getSample", "404"): [lambda w: ask(BY_ID["getSample"], w, query={"model": "none"})],
    ("headSample", "404"): [lambda w: ask(BY_ID["headSample"], w, query={"model": "none"})],
    ("getFilm", "404"): [lambda w: ask(BY_ID["getFilm"], w, query={"model": "none"})],
    ("headFilm", "404"): [lambda w: ask(BY_ID["headFilm"], w, query={"model": "none"})],
    ("createJob", "200"): [lambda w: w.post("/v1/jobs", FILMED)],
    ("createJob", "202"): [lambda w: ask(BY_ID["createJob"], w)],
    ("createJob", "403"): [lambda w: too_high(w, "/v1/jobs", SMALL)],
    ("createJob", "404"): [lambda w: w.post("/v1/jobs", {**SMALL, "model": "none"})],
    ("createJob", "409"): [lambda w: w.post("/v1/jobs", {**SMALL, "id": "digits-1"})],
    ("createJob", "410"): [lambda w: w.post("/v1/jobs", {**SMALL, "id": "gone"}, name="full")],
    ("createJob", "422"): [lambda w: same_key(w, "/v1/jobs", SMALL)],
    ("createJob", "500"): [lambda w: w.post("/v1/jobs", SMALL, name="seedless")],
    ("createJob", "504"): [lambda w: impossible(w, "/v1/jobs", ENDLESS)],
    ("deleteJob", "204"): [lambda w: ask(BY_ID["deleteJob"], w, path={"id": created_job(w)})],
    ("followJob", "204"): [after_the_last_event],
    ("getJobResult", "200"): accepting("application/json", "image/png", "image/apng", "application/zip",
                                       "multipart/mixed", op="getJobResult"),
    ("getJobImage", "409"): [lambda w: ask(BY_ID["getJobImage"], w, "full", path={"id": "endless", "i": 63})],
    ("verifyPicture", "404"): [lambda w: ask(BY_ID["verifyPicture"], w, body=other_model(w))],
    ("createImages", "200"): [lambda w: w.post("/v1/images/generations", {"prompt": "7"}),
                              lambda w: w.post("/v1/images/generations", {"prompt": "7", "stream": True})],
    ("createImages", "403"): [lambda w: too_high(w, IMAGES, {"prompt": "7"})],
    ("createImages", "409"): [lambda w: busy_key(w, IMAGES, ENDLESS_IMAGES)],
    ("createImages", "422"): [lambda w: same_key(w, IMAGES, {"prompt": "7"})],
    ("createImages", "504"): [lambda w: impossible(w, IMAGES, ENDLESS_IMAGES)],
    ("createImages", "404"): [lambda w: w.post("/v1/images/generations", {"prompt": "7", "model": "no"})],
    ("loadModel", "200"): [lambda w: [w.post("/admin/models", {"path": new_model(w, "twice")})
                                      for _ in range(2)][1]],
    ("loadModel", "201"): [lambda w: w.post("/admin/models", {"path": new_model(w, "once")})],
    ("loadModel", "409"): [lambda w: w.post("/admin/models", {"path": new_model(w, "mnist")})],
    ("loadModel", "422"): [lambda w: ask(BY_ID["loadModel"], w)],
    ("unloadModel", "200"): [lambda w: ask(BY_ID["unloadModel"], w, path={"id": loaded_model(w, "leaving")})],
    ("unloadModel", "409"): [lambda w: ask(BY_ID["unloadModel"], w, path={"id": "mnist"})],
    **{(op.id, "403"): [lambda w, op=op: ask(op, w, headers={"Origin": "null"})]
       for op in contract.OPERATIONS if op.path.startswith("/admin")},
    ("asset", "200"): [lambda w, n=n: ask(BY_ID["asset"], w, path={"name": n}) for n in
                       ("playground.js", "playground.css", "playground.html", "icon.svg")],
    ("asset", "406"): [lambda w: ask(BY_ID["asset"], w, headers={"Accept-Encoding": "identity"},
                                     path={"name": "swagger-ui-bundle.js"})],
}

UNPROVOKED = {
    ("verifyPicture", "500"): "it draws no seed, and the engine fails for want of memory alone",
}
DOCUMENTED = [(op.id, status) for op in contract.OPERATIONS for status in op.responses]


@pytest.mark.parametrize("op_id,status", [case for case in DOCUMENTED if case not in UNPROVOKED], ids=lambda v: v)
def test_every_response_is_brought_about(world, op_id, status):
    op = BY_ID[op_id]
    assert (op_id, status) in SPECIAL or status in GENERAL, "say in SPECIAL what provokes it"
    provocations = SPECIAL.get((op_id, status)) or [lambda w: GENERAL[status](op, w)]
    answers = [provoke(world) for provoke in provocations]
    assert {str(a.status) for a in answers} == {status}, [a.body[:500] for a in answers]
    seen = {a.headers.get("Content-Type", "").partition(";")[0] for a in answers} - {""}
    assert seen == set(contract.resolve(op.responses[status]).get("content", {}))


def test_no_provocation_is_stale():
    assert set(SPECIAL) | set(UNPROVOKED) <= set(DOCUMENTED)
    assert len(DOCUMENTED) > 150


# ---- parameters ---------------------------------------------------------------------------------

# What a parameter goes with; one that needs nothing is asked for alone.
COMPANIONS = {"eta": {"sampler": "ddim"}}
# Of those that have no example: /docs would send each that has one, together with all others, and again the next time.
EXAMPLES = {"preset": "turbo", "index": 0, "steps": 5, "sampler": "ddim", "guidance_scale": 1.5,
            "guidance_interval": [0.2, 0.8], "eta": 0.5, "frames": 3, "frame_ms": 100, "model": "mnist",
            "limit": 2, "cursor": "5", "status": "succeeded", "wait": 1, "Last-Event-ID": "1", "lastEventId": "1", "Prefer": "wait=60",
            "Idempotency-Key": '"7f3c6ab0-5d0a-4c0e-9f3a-2b1d8f6f0a11"'}
PARAMETERS = [(op.id, p["name"]) for op in contract.OPERATIONS for p in op.parameters]


def ask_with(op, world, parameter, value):
    where, name = parameter["in"], parameter["name"]
    quick = name != "preset" and any(p["name"] == "steps" for p in op.parameters)
    query = {"steps": 2} if quick else {}
    query.update(COMPANIONS.get(name, {}))
    path, headers = {}, {}
    {"path": path, "query": query, "header": headers}[where][name] = value
    return ask(op, world, path=path, query=query, headers=headers)


@pytest.mark.parametrize("op_id,name", PARAMETERS, ids=lambda v: v)
def test_every_parameter_does_what_it_says(world, op_id, name):
    op = BY_ID[op_id]
    parameter = next(p for p in op.parameters if p["name"] == name)
    if op_id == "deleteJob":
        parameter = {**parameter, "example": created_job(world)}
    if op_id == "unloadModel":
        parameter = {**parameter, "example": loaded_model(world, "going")}
    example = parameter["example"] if "example" in parameter else EXAMPLES[name]
    assert str(ask_with(op, world, parameter, example).status)[0] == "2"
    refused = (400, 404) if parameter["in"] == "path" else (400,)
    if refused == (400, 404) and not contract.resolve(parameter["schema"]).get("pattern"):
        return  # any text is one, of what may not be there
    for value in invalid_values(parameter["schema"]):
        text = contract.text_of(value)
        if not may_be_sent(parameter["in"], text) or readable_as(text, parameter["schema"]):
            continue
        assert ask_with(op, world, parameter, text).status in refused, text


def may_be_sent(where, text):
    """Is the text a different one when it has arrived?"""
    if where == "header":
        return text == text.strip() != "" and text.isascii() and text.isprintable()
    return where == "query" or text != ""


def readable_as(text, schema):
    """May the text of a parameter stand for a value that the schema accepts?"""
    if contract.is_valid(text, contract.resolve(schema)):
        return True
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return not isinstance(value, (dict, list)) and contract.is_valid(value, contract.resolve(schema))


# ---- beside the operations ----------------------------------------------------------------------

@pytest.mark.parametrize("path", contract.DOCUMENT["paths"])
def test_what_answers_any_request(world, path):
    ops = [op for op in contract.OPERATIONS if op.path == path]
    target = target_of(ops[0])
    methods = {op.method for op in ops}
    allowed = methods | ({"HEAD"} if "GET" in methods else set()) | {"OPTIONS"}
    for method, status in (("OPTIONS", 204), ("PUT", 405), ("get", 405), ("BREW", 405)):
        answer = world.ask(method, target)
        assert answer.status == status
        assert set(answer.headers["Allow"].split(", ")) == allowed
    assert world.ask("OPTIONS", target, body=b"x").status == 400
    for op in ops:
        assert world.ask(op.method, target + "?" + "x" * 9000).status == 414
        if op.method == "GET" and "head" not in contract.DOCUMENT["paths"][path]:
            head = world.ask("HEAD", target)
            assert head.status == ask(op, world).status
    assert world.ask("GET", target + "/nothing").status == 404


@pytest.mark.parametrize("request_line,headers,status", [
    ("GET / HTTP/9.9", "", 505), ("GET / HTTP/1.1", "no colon\r\n", 400),
    ("GET / HTTP/1.1", "X: " + "y" * 100000 + "\r\n", 431), ("GET /" + "x" * 100000 + " HTTP/1.1", "", 414),
    ("POST /v1/samples HTTP/1.1", "Content-Length: " + "9" * 30 + "\r\n", 413)], ids=lambda v: str(v)[:20])
def test_what_is_not_http(world, request_line, headers, status):
    """The library answers by itself; only the status and the end of the connection are promised."""
    with wire.connect(world.address("plain")) as client:
        client.sendall(f"{request_line}\r\nHost: x\r\n{headers}\r\n".encode())
        answer = wire.read_answer(client, "GET")
    assert answer.status == status and str(status) in contract.ANY["malformed"] and answer.closes
    assert "X-Request-Id" not in answer.headers


# ---- events -------------------------------------------------------------------------------------

def open_stream(daemon, op_id, more):
    """Of ENDLESS, but for what is said: an answer that nobody has read yet."""
    body = {**ENDLESS, **more}
    common = {"stream": True, "timeout": DEADLINE_S}
    if op_id == "createSamples":
        return daemon.post(body, headers={"Accept": "text/event-stream"}, stream=True)
    if op_id == "followJob":
        job = requests.post(daemon.url + "/v1/jobs", json=body, timeout=DEADLINE_S).json()
        return requests.get(daemon.url + job["links"]["events"], **common)
    return requests.post(daemon.url + IMAGES, **common, json={
        **{name: body[name] for name in ("n", "seed", "sampler", "guidance_scale")},
        "prompt": "7", "num_inference_steps": body["steps"], "stream": True, "partial_images": 3})


@pytest.mark.parametrize("op_id", contract.EVENTS)
def test_every_event_is_brought_about(start_daemon, op_id):
    """Of work that ends well, and of work that is told while it goes on and is cut off by a stop."""
    daemon = start_daemon("--workers", 1, "--drain-timeout-s", 0)
    documented = contract.EVENTS[op_id]

    def read(answer):
        for event in contract.check_events(answer.iter_lines(), documented):
            seen.add(event["event"])
            yield

    seen = set()
    with open_stream(daemon, op_id, {"n": 1, "steps": 2, "layout": "grid"}) as answer:
        assert list(read(answer)) and "error" not in seen
    with open_stream(daemon, op_id, {"preview_every": 10}) as answer:
        is_stopped = False
        for _ in read(answer):
            if not is_stopped and seen == set(documented) - {"error"}:
                daemon.signal()
                is_stopped = True
    assert seen == set(documented)


def test_an_undocumented_event_is_seen(world):
    """Whatever is changed of a documented stream, it is none any more."""
    good = world.ask("POST", "/v1/samples", {**JSON, "Accept": "text/event-stream"},
                     json.dumps({**SMALL, "steps": 2, "preview_every": 1}).encode())

    def judge(old=b"", new=b""):
        assert old in good.body
        contract.check_answer("POST", "/v1/samples", 200, good.headers, good.body.replace(old, new))

    judge()
    for old, new in ((b"event: started", b"event: begun"), (b"event: image\n", b""), (b'"eta_ms":', b'"eta":'),
                     (b'"digest":"sha256:', b'"digest":"sha1:'), (b'"step":1', b'"step":0.5'),
                     (b'"images":1,"timings"', b'"images":1,"x":1,"timings"'), (b"\n\n", b"\n")):
        with pytest.raises((AssertionError, ValueError)):
            judge(old, new)


# ---- the judge ----------------------------------------------------------------------------------

def test_an_undocumented_answer_is_seen(world):
    """Whatever is changed of a documented answer, it is none any more."""
    good = world.post("/v1/samples", SMALL)
    headers = dict(good.headers.items())

    def judge(method="POST", target="/v1/samples", status=200, body=good.body, drop=(), **more):
        changed = {k: v for k, v in headers.items() if k not in drop}
        changed.update({k.replace("_", "-"): v for k, v in more.items()})
        contract.check_answer(method, target, status, requests.structures.CaseInsensitiveDict(changed),
                              body)

    judge()
    for change_of in ({"status": 201}, {"status": 405}, {"target": "/v1/sample"}, {"method": "PATCH"},
                      {"method": "GET"}, {"body": b"{}"}, {"body": good.body + b"x"}, {"body": b""},
                      {"body": good.body.replace(b'"seed":', b'"sead":')}, {"drop": ["X-Seed"]},
                      {"drop": ["X-Request-Id"]}, {"Content_Type": "text/html"}, {"X_Surprise": "1"},
                      {"X_Seed": "-1"}, {"X_Seed": "x"}, {"X_Model_Digest": "sha256:0"}):
        with pytest.raises((AssertionError, ValueError)):
            judge(**change_of)
