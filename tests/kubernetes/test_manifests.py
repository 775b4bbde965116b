"""deploy/kubernetes: valid by the schemas of Kubernetes's own API (the npm package kubernetes-models), and
consistent with each other, with the image and with the daemon."""

import copy
import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from tests.deploy.test_files import BINARY, ROOT, serve_defaults
from tests.http.conftest import DEADLINE_S

MODULES = BINARY.parent / "kubernetes" / "node_modules"
FILES = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
OBJECTS = [document for path in FILES for document in yaml.safe_load_all(path.read_text())]
BY_KIND = {document["kind"]: document for document in OBJECTS}
LABELS = {"app.kubernetes.io/name": "denoised"}


def judge(objects):
    """What is wrong with each object; "" where nothing is."""
    assert MODULES.is_dir(), "make test-python fetches the schemas"
    done = subprocess.run(["node", str(pathlib.Path(__file__).parent / "validate.js")], text=True,
                          input=json.dumps(objects), capture_output=True, timeout=DEADLINE_S,
                          env={**os.environ, "NODE_PATH": str(MODULES)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_kubernetes_knows_every_field():
    assert {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
            "NetworkPolicy"} == set(BY_KIND)
    assert judge(OBJECTS) == len(OBJECTS) * [""]


def test_the_check_can_fail():
    def broken(change):
        deployment = copy.deepcopy(BY_KIND["Deployment"])
        change(deployment["spec"], deployment["spec"]["template"]["spec"]["containers"][0])
        return deployment

    faults = judge([broken(lambda spec, c: c.update(imagePullPolice="Always")),
                    broken(lambda spec, c: spec.update(revisionHistoryLimit="3")),
                    broken(lambda spec, c: spec.pop("selector")),
                    broken(lambda spec, c: c["securityContext"].update(privilegd=False)),
                    {**BY_KIND["Service"], "apiVersion": "apps/v1"}])
    words = ["imagePullPolice", "integer", "selector", "privilegd", ""]
    assert all(fault and word in fault for fault, word in zip(faults, words)), faults


@pytest.fixture(scope="module")
def pod():
    return BY_KIND["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    [container] = pod["containers"]
    return container


def test_selectors_meet():
    assert BY_KIND["Deployment"]["spec"]["template"]["metadata"]["labels"] == LABELS
    for selector in (BY_KIND["Deployment"]["spec"]["selector"], BY_KIND["PodDisruptionBudget"]["spec"]["selector"],
                     BY_KIND["NetworkPolicy"]["spec"]["podSelector"]):
        assert selector == {"matchLabels": LABELS}
    assert BY_KIND["Service"]["spec"]["selector"] == LABELS
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", BY_KIND["Deployment"]["metadata"]["name"])
    assert "replicas" not in BY_KIND["Deployment"]["spec"], "else each apply would undo the autoscaler"


def test_ports_meet(container):
    [port] = container["ports"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile
    assert f"DENOISED_LISTEN=0.0.0.0:{port['containerPort']} " in dockerfile
    named = [container[p]["httpGet"]["port"] for p in ("startupProbe", "livenessProbe", "readinessProbe")]
    named.append(BY_KIND["Service"]["spec"]["ports"][0]["targetPort"])
    named.append(BY_KIND["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"])
    assert set(named) == {port["name"]}


def test_the_image_and_its_rights(pod, container):
    dockerfile = (ROOT / "Dockerfile").read_text()
    version = re.search(r'image\.version="(\S+)"', dockerfile)[1]
    assert container["image"] == f"denoised:{version}"
    user = pod["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in dockerfile and user["runAsNonRoot"]
    rights = container["securityContext"]
    assert rights == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                      "capabilities": {"drop": ["ALL"]}}


def test_a_drain_fits_into_the_grace_period(pod, container):
    env = {e["name"]: e["value"] for e in container["env"]}
    assert set(env) <= set(serve_defaults())
    drain_s = int(env["DENOISED_DRAIN_DELAY_S"]) + int(env["DENOISED_DRAIN_TIMEOUT_S"])
    assert drain_s < pod["terminationGracePeriodSeconds"]
    probe = container["readinessProbe"]
    unready_s = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert unready_s < int(env["DENOISED_DRAIN_DELAY_S"])


def test_the_autoscaler_asks_for_a_metric_that_there_is():
    [metric] = BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert f'"{metric["pods"]["metric"]["name"].removeprefix("denoised_")}"' in \
        (ROOT / "server/routes/metrics_text.c").read_text()
