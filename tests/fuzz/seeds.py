"""Seeds for what reads text: bodies, URLs, headers, files of keys, options. The good ones are the
examples of openapi.yaml and the README's table of flags, so that a new field or flag is in them."""

import json
import pathlib
import re
import urllib.parse

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def contract():
    with open(ROOT / "openapi.yaml", encoding="utf-8") as f:
        return yaml.safe_load(f)


def provenance(digest, **changes):
    """The text of a picture of the corpus's model, which draws 4x4 pixels."""
    params = {"label": 1, "n": 1, "seed": 42, "index": 3, "steps": 2, "sampler": "ddim",
              "guidance_scale": 1.5, "eta": 0.5, "format": "png", "layout": "list", "scale": 1}
    text = {"version": 1, "model": {"id": "good", "digest": digest}, "params": params,
            "determinism": {"model_digest": digest, "precision": "fp32", "kernels": "fp32-native-2"},
            "digest": digest}
    return {**text, **changes}


def json_files(digest):
    """`digest` is that of the corpus's model."""
    files = {}
    for path, item in contract()["paths"].items():
        for method, operation in item.items():
            body = isinstance(operation, dict) and operation.get("requestBody", {}).get("content", {})
            for name, example in (body or {}).get("application/json", {}).get("examples", {}).items():
                text = json.dumps(example["value"]).replace('"mnist"', '"good"')
                files[f"{operation['operationId']}-{name}"] = text.encode()
    # The corpus's model has classes a and b, and four timesteps.
    small = {"labels": [0, "b"], "n": 3, "seed": 9, "index": 2, "steps": 3, "sampler": "ddim",
             "guidance_scale": 2, "eta": 0.25, "model": "good", "layout": "grid", "columns": 2,
             "scale": 2, "format": "apng", "frames": 4, "frame_ms": 40, "timeout_ms": 1000,
             "preview_every": 1}
    image = {"prompt": "two bs and an a", "size": "8x8", "num_inference_steps": 2, "stream": True,
             "partial_images": 2, "model": "dall-e-3", "n": 3}
    files.update({
        "all-fields": json.dumps(small).encode(),
        "with-id": json.dumps({**small, "id": "a-1", "priority": "low"}).encode(),
        "image": json.dumps(image).encode(),
        "image-of-nulls": json.dumps({key: None for key in image} | {"prompt": "a"}).encode(),
        "picture": json.dumps(provenance(digest)).encode(),
        "picture-of-nothing": json.dumps(provenance(digest, params={}, version=2, more=[])).encode(),
        "load": b'{"path":"/models/b.safetensors","default":true}',
        "load-odd": b'{"path":"\\u0000","default":1,"paths":[]}',
        "empty": b"",
        "not-an-object": b"[1]",
        "deep": b"[" * 100 + b"]" * 100,
        "nested": b'{"label":{"a":[{"b":[]}]}}',
        "twice": b'{"label":1,"\\u006cabel":1}',
        "escapes": b'{"label":"\\ud83d\\ude00\\u0000\\n","' + "\u00e9".encode() + b'":1}',
        "half-a-pair": b'{"label":"\\ud83d"}',
        "not-utf8": b'{"label":"\xff\xfe"}',
        "overlong": b'{"label":"\xc0\xaf"}',
        "numbers": b'{"label":1e0,"seed":9007199254740993,"n":-0,"scale":1E400,"eta":1e-400}',
        "no-numbers": b'{"label":01,"seed":+1,"n":.5,"scale":NaN,"eta":0x1}',
        "comments": b'{"label":1,/* */}',
        "trailing": b'{"label":1}{}',
        "bom": b'\xef\xbb\xbf{"label":1}',
        "truncated": b'{"label":1,"seed":',
        "many-members": json.dumps({str(i): i for i in range(65)}).encode(),
        "many-labels": json.dumps({"labels": [0] * 300}).encode(),
    })
    return files


def url_files():
    files = {}
    for path, item in contract()["paths"].items():
        values, query = {}, {}
        operations = [o for o in item.values() if isinstance(o, dict)]
        for p in item.get("parameters", []) + [p for o in operations for p in o.get("parameters", [])]:
            if "example" in p:
                value = p["example"]
                text = ",".join(map(str, value)) if isinstance(value, list) else value
                {"path": values, "query": query}.get(p.get("in"), {})[p.get("name")] = text
        target = re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1]) or "x"), path)
        name = re.sub(r"\W+", "-", path).strip("-") or "root"
        files[name] = (target + "?" + urllib.parse.urlencode(query)).encode()
    files.update({
        "small": b"/v1/samples/b.png?seed=1&index=4294967295&steps=4&sampler=ddim&eta=.5&scale=32",
        "preset": b"/v1/samples/b.png?seed=1&preset=fast",
        "film": b"/v1/samples/1.apng?seed=1&steps=4&frames=5&frame_ms=10&model=good",
        "percent": b"/v1/samples/%62.png?%73eed=%31&model=g%6fod",
        "bad-percent": b"/v1/samples/%6.png?seed=%zz",
        "zero-byte": b"/v1/samples/%00.png?seed=%00",
        "not-utf8": b"/v1/samples/%ff%fe.png?%ff=1",
        "plus": b"/v1/samples/a+b.png?model=a+b",
        "twice": b"?seed=1&seed=2",
        "absolute": b"http://user@host:80/v1/samples/1.png?seed=1",
        "no-path": b"HTTPS://h?seed=1",
        "no-authority": b"http://?/",
        "empty-pairs": b"/?&&=&a=&=b&",
        "many-pairs": b"?" + b"&".join(b"%d=1" % i for i in range(40)),
        "slashes": b"//v1//samples/../samples/1.png/",
        "no-label": b"/v1/samples/.png",
    })
    return files


def header_files():
    return {name: value.encode("latin-1") for name, value in {
        "accept": "text/html, application/json;q=0.9, image/*;q=0.8, */*;q=0.1",
        "accept-apng": 'image/avif,image/webp,image/apng;level="1,\\"2";q=0.999,*/*;q=0.0',
        "accept-odd": "a/b;q=2, ;;q=, image/png;q=1.0000, ,,\t, */png, image/*;Q=.5",
        "encoding": "gzip;q=0.5, br, *;q=0, x-gzip, identity",
        "content-type": 'application/problem+json; charset="utf-8"',
        "form": "application/x-www-form-urlencoded;charset=latin1",
        "etags": 'W/"abc", "d\\"ef", *, "0"',
        "prefer": 'respond-async, wait=10; foo="b,ar", handling=lenient',
        "prefer-odd": "wait=99999999999999999999, wait=-1, WAIT = 5, respond-async=1",
        "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "trace-future": "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "trace-zero": "00-" + "0" * 32 + "-b7ad6b7169203331-00",
        "forwarded": "203.0.113.7, 2001:db8::1, 10.0.0.2:80, [::1]:9, unknown, 127.0.0.1",
        "networks": "10.0.0.0/8, fd00::/8,unix,::ffff:1.2.3.4/128, 1.2.3.4/33",
        "empty": "", "quote": '"', "bytes": "\xff\x80\x01",
    }.items()}


def key_files():
    key = "0123456789abcdef"
    return {name: text.encode("latin-1") for name, text in {
        "plain": f"ada {key}\nbob sha256:{'0' * 64}\n",
        "limits": f"# clients\n\nada\t{key} rows-per-minute=60 burst-rows=10 rows-in-flight=4 priority=low\r\n",
        "no-newline": f"ada {key}",
        "twice": f"ada {key}\nada {key}x\n",
        "same-key": f"ada {key}\nbob {key}\n",
        "short-key": "ada 0123\n", "no-key": "ada\n", "no-name": f" {key}\n",
        "bad-digest": "ada sha256:00\n", "odd-digest": f"ada sha256:{'G' * 64}\n",
        "bad-limit": f"ada {key} rows-per-minute=-1\nbob {key} burst-rows=9999999999\n",
        "unknown-limit": f"ada {key} colour=red\n", "no-value": f"ada {key} rows-in-flight=\n",
        "long-name": f"{'a' * 100} {key}\n", "long-key": f"ada {'k' * 5000}\n",
        "zero-byte": f"ada {key}\0\n", "not-ascii": f"\xe9 {key}\n", "empty": "", "blank": " \t\r\n\n#",
    }.items()}


def option_files():
    rows = re.findall(r"^\| `--([a-z-]+)` \| `(DENOISED_\w+)` \| (.*?) \|", (ROOT / "README.md").read_text(),
                      re.M)
    presets = [(flag, variable, preset.strip("`")) for flag, variable, preset in rows
               if preset.startswith("`")]
    return {name: "\n".join(lines).encode("latin-1") for name, lines in {
        "flags": ["serve", *(f"--{flag}={preset}" for flag, _, preset in presets)],
        "flags-apart": ["serve", *(x for flag, _, preset in presets for x in (f"--{flag}", preset))],
        "variables": ["serve", *(f"{variable}={preset}" for _, variable, preset in presets)],
        "names": ["serve", "--model-alias", "dall-e-3=mnist,x=y", "--cors-origin",
                  "https://example.org,http://a:8080", "--api-keys-file", "/k",
                  "--rows-per-minute=60", "--burst-rows=5", "--max-rows-in-flight=2"],
        "models": ["serve", "--model", "a", "--model=b", "DENOISED_MODEL=c:d"],
        "sample": ["sample", "--label", "all", "-n", "10", "--seed", "1", "-o", "digits-%d.png",
                   "--sampler", "ddim", "--eta=.5", "--steps=7", "--guidance-scale", "2.5"],
        "bench": ["bench", "--batch", "8", "--profile", "--json", "--seconds=0.1", "--isa", "avx2"],
        "info": ["info", "--json", "--precision", "bf16"],
        "health": ["health", "--listen", "127.0.0.1:8080"],
        "help": ["serve", "--help"], "version": ["--version"],
        "unix": ["--listen", "unix:/run/x", "DENOISED_LISTEN=[::1]:0"],
        "numbers": ["--workers=1e2", "--max-batch= 8", "--max-queue-rows=0x10", "--max-jobs=-0"],
        "twice": ["--workers=1", "--workers=2"], "no-value": ["--listen"], "empty-value": ["--listen="],
        "unknown": ["--frob", "DENOISED_FROB=1", "DENOISED_SERVICE_PORT=1"],
        "switches": ["serve", "DENOISED_LOG_ACCESS=off", "DENOISED_METRICS_NEED_KEY=on"],
        "empty": [], "dashes": ["--", "-", "-o", "---"],
    }.items()}
