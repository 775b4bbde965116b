"""The deployment files: nginx accepts them where it is installed, and what they name exists."""

import json
import os
import pathlib
import re
import subprocess

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("DENOISED_BINARY", "build/denoised")).resolve()


def serve_defaults():
    """{DENOISED_X: default or None} of the flags of serve, from the program's own help."""
    text = subprocess.run([str(BINARY), "serve", "--help"], capture_output=True, text=True,
                          check=True).stdout
    found = re.findall(r"^        \[(DENOISED_\w+)([^\]]*)\]$", text, re.M)
    assert len(found) > 10
    return {name: rest.split("default ")[1] if "default " in rest else None for name, rest in found}


def temporary_paths(folder):
    """nginx's lines for folders that it otherwise takes from where Debian's package has been installed."""
    return "".join(f"{kind}_temp_path {folder}/{kind};\n"
                   for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def nginx_check(tmp_path, text):
    """`nginx -t` on the configuration in an http block of its own, with the upstream on loopback."""
    text = text.replace("server denoised:8080;", "server 127.0.0.1:9;")
    text = text.replace("/var/cache/nginx/denoised", str(tmp_path / "cache"))
    text = text.replace("/var/log/nginx/access.log", str(tmp_path / "access"))
    text = text.replace("listen 80;", f"listen unix:{tmp_path}/s;")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\n"
        f"http {{\n{temporary_paths(tmp_path)}{text}\n}}\n")
    return subprocess.run(["nginx", "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
                          capture_output=True, text=True)


def test_nginx_accepts_the_configuration(tmp_path):
    done = nginx_check(tmp_path, (ROOT / "deploy/nginx/denoised.conf").read_text())
    assert done.returncode == 0, done.stderr


def test_nginx_check_can_fail(tmp_path):
    text = (ROOT / "deploy/nginx/denoised.conf").read_text()
    assert nginx_check(tmp_path, text.replace("proxy_cache_lock on;", "proxy_cache_lok on;")).returncode


def test_compose_is_of_its_schema():
    """Docker's own, from a package of Debian that `make test-python` unpacks."""
    found = [*(BINARY.parent / "compose").rglob("compose[-_]spec.json")]
    assert found
    check = jsonschema.Draft7Validator(json.loads(found[0].read_text()))
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    assert [error.message for error in check.iter_errors(compose)] == []
    compose["services"]["denoised"]["read_onli"] = True
    assert ["read_onli" in error.message for error in check.iter_errors(compose)] == [True]


def test_compose_names_what_exists():
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    services = compose["services"]
    assert (ROOT / "deploy" / services["denoised"]["build"] / "Dockerfile").is_file()
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / "deploy" / source).exists(), source
            else:
                assert source in compose["volumes"], source
    known = serve_defaults()
    environment = services["denoised"]["environment"]
    assert set(environment) <= set(known)
    assert int(services["denoised"]["stop_grace_period"].rstrip("s")) > int(environment["DENOISED_DRAIN_TIMEOUT_S"])
    assert [name for name, service in services.items() if "8080:80" in service.get("ports", [])] == ["nginx"]


def test_dockerfile_names_what_exists():
    text = (ROOT / "Dockerfile").read_text()
    for name in re.findall(r"\bDENOISED_\w+", text):
        assert name in serve_defaults(), name
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    assert all(list(ROOT.glob(name)) for name in allowed)
    assert "USER 10001:10001" in text and 'ENTRYPOINT ["/usr/bin/denoised"]' in text


def test_there_is_one_name_of_the_image():
    """What README builds is what compose and Kubernetes run."""
    version, = re.findall(r"^VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M)
    for name in ("README.md", "Dockerfile", "docs/operations.md", "deploy/compose.yaml",
                 "deploy/kubernetes/denoised.yaml"):
        found = re.findall(r"(?:docker build -t|-p 8080:8080|image:) (denoised\S*)(?=\s)", (ROOT / name).read_text())
        assert found and set(found) == {f"denoised:{version}"}, name
    assert f'image.version="{version}"' in (ROOT / "Dockerfile").read_text()


def test_environment_file_lists_every_variable_with_its_default():
    text = (ROOT / "systemd/denoised.env").read_text()
    listed = dict(re.findall(r"^#(DENOISED_\w+)=(.*)$", text, re.M))
    defaults = serve_defaults()
    assert set(listed) == set(defaults)
    for name, default in defaults.items():
        if default:
            assert listed[name] == default, name
