"""deploy/prometheus and deploy/grafana: the rules do what they say, and a real Prometheus that watches a real daemon
answers every question of the dashboard and of the alerts."""

import json
import re
import subprocess

import pytest
import requests
import yaml

from tests.deploy.test_files import ROOT
from tests.http.conftest import DEADLINE_S, Daemon, wait_for

ALERTS = ROOT / "deploy/prometheus/alerts.yml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy/grafana/denoised.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus makes itself, of every target.
ITS_OWN = {"up"}

def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)


def expression(text):
    """A panel's, as Grafana would send it."""
    return text.replace("$__rate_interval", "1m").replace("$instance", ".*")


QUESTIONS = [(f"{panel['title']}: {target['legendFormat']}", expression(target["expr"]))
             for panel in PANELS for target in panel["targets"]]
QUESTIONS += [(rule["alert"], rule["expr"]) for rule in RULES]


def test_promtool_accepts_the_files():
    for kind, path in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
        done = promtool("check", kind, ROOT / "deploy/prometheus" / path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_rules(tmp_path):
    """tests/deploy/alerts.test.yml, on the rules without their texts, which would be there twice."""
    def told(change=lambda rules: None):
        rules = yaml.safe_load(ALERTS.read_text())
        for rule in rules["groups"][0]["rules"]:
            del rule["annotations"]
        change({rule["alert"]: rule for rule in rules["groups"][0]["rules"]})
        (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
        text = (ROOT / "tests/deploy/alerts.test.yml").read_text()
        (tmp_path / "test.yml").write_text(text.replace("[ALERTS]", f"[{tmp_path}/alerts.yml]"))
        return promtool("test", "rules", tmp_path / "test.yml")

    done = told()
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(rule["alert"] in (ROOT / "tests/deploy/alerts.test.yml").read_text() for rule in RULES)
    assert told(lambda rules: rules["DenoisedStuck"].update(expr="denoised_queue_rows > 1000")).returncode != 0
    assert told(lambda rules: rules["DenoisedSlow"].update({"for": "1h"})).returncode != 0


def test_every_alert_says_what_to_do():
    runbook = (ROOT / "docs/operations.md").read_text()
    for rule in RULES:
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "do", "runbook"} and annotations["do"].endswith(".")
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert annotations["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert f"\n### {rule['alert']}\n" in runbook
    assert runbook.count("\n### Denoised") == len(RULES)


def test_the_dashboard_is_whole():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) > 20
    places = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & places, panel["title"]
        places |= cells
    provided = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text())
    [source] = provided["datasources"]
    for panel in PANELS:
        assert panel["datasource"]["uid"] == source["uid"] and panel["targets"]
    [provider] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/denoised.yaml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] + "/denoised.json" in mounts
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose["services"]


# ---- a real Prometheus ------------------------------------------------------------------------------


class Prometheus:
    def __init__(self, folder, port):
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n"
            f"rule_files: [{ALERTS}]\n"
            f"scrape_configs: [{{job_name: denoised, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n")
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 "--web.listen-address=127.0.0.1:0", "--log.format=json"], stderr=log, stdout=log)
        self.url = "http://" + wait_for(self.address, "Prometheus to listen")
        wait_for(lambda: requests.get(self.url + "/-/ready", timeout=DEADLINE_S).status_code == 200, "Prometheus")

    def address(self):
        assert self.process.poll() is None, self.log.read_text()
        # The last line may still be on its way.
        lines = [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return next((line["address"] for line in lines if line.get("msg") == "Listening on"), None)

    def ask(self, path, **query):
        answer = requests.get(self.url + path, params=query, timeout=DEADLINE_S)
        assert answer.status_code == 200, (query, answer.text)
        return answer.json()["data"]

    def query(self, text):
        return self.ask("/api/v1/query", query=text)["result"]

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), "--workers", "1")
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, daemon):
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), daemon.port)
    yield prometheus
    prometheus.stop()


def draw(daemon, seed):
    """Something of everything that the dashboard shows."""
    assert daemon.post({"label": 7, "seed": seed, "steps": 4}).status_code == 200
    for _ in range(2):
        assert daemon.get(f"/v1/samples/7.png?seed={seed}&steps=2").status_code == 200
    assert daemon.post({"label": "none"}).status_code == 400


def test_prometheus_can_answer(daemon, prometheus):
    """Each question of the dashboard gets an answer in numbers; those of alerts are understood, and of a daemon
    that is well none fires."""
    seeds = iter(range(10 ** 6))
    panels = [question for question in QUESTIONS if question[0] not in {rule["alert"] for rule in RULES}]

    unanswered = []

    def all_are_answered():
        draw(daemon, next(seeds))
        unanswered[:] = [title for title, text in panels
                         if not any(sample["value"][1] != "NaN" for sample in prometheus.query(text))]
        return not unanswered

    wait_for(all_are_answered, unanswered)
    for _, text in QUESTIONS:
        prometheus.query(text)

    def evaluated():
        rules = [rule for group in prometheus.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
        assert all(rule["health"] != "err" for rule in rules), rules
        return all(rule["health"] == "ok" for rule in rules) and rules

    rules = wait_for(evaluated, "the rules to be evaluated")
    assert {rule["name"] for rule in rules if rule["state"] != "firing"} == {rule["alert"] for rule in RULES}


def test_every_metric_that_is_asked_for_is_there(daemon, prometheus):
    draw(daemon, 1)
    daemon.get("/livez")
    text = daemon.get("/metrics").text
    names = set(re.findall(r"^([a-z_]+)[{ ]", text, re.M)) | ITS_OWN
    labels = set(re.findall(r'([a-z_]+)="', text)) | {"instance", "job"}
    for title, question in QUESTIONS:
        asked = set(re.findall(r"\b((?:denoised|process)_\w+|up)\b(?!\")", question))
        assert asked and asked <= names, (title, asked - names)
        told = set(re.findall(r'(\w+)(?:=|!=|=~|!~)"', question))
        by = {name.strip() for group in re.findall(r"\b(?:by|ignoring|on) \(([^)]*)\)", question)
              for name in group.split(",")}
        assert told | by <= labels, (title, (told | by) - labels)
