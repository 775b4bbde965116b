"""The pages as HTTP: who gets HTML, what a cache may do, what a browser is allowed."""

import re

import pytest

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_gets_the_playground_and_a_program_the_routes(daemon):
    for accept in (BROWSER["Accept"], "text/html"):
        answer = daemon.get("/", headers={"Accept": accept})
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.text.startswith("<!doctype html>")
        assert "Accept" in answer.headers["Vary"]
    for accept in ("*/*", "application/json", None):
        answer = daemon.get("/", headers={"Accept": accept})
        assert answer.json()["name"] == "denoised"
        assert "Accept" in answer.headers["Vary"]
    assert daemon.get("/", headers={"Accept": "image/png"}).status_code == 406


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_asks_for_nothing_from_elsewhere(daemon, path):
    page = daemon.get(path, headers=BROWSER)
    policy = dict(directive.split(" ", 1)
                  for directive in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(parts) >= 4
    for part in parts:
        assert not part.startswith(("http", "/")), part
        assert daemon.get("/" + part).status_code == 200, part
    assert not re.search(r"<style|<script>|\son\w+=|style=", page.text)


def test_modules_import_what_is_there(daemon):
    script = daemon.get("/assets/playground.js")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    imports = re.findall(r'from "\./([\w.]+)"', script.text)
    assert len(imports) > 6
    for name in imports:
        assert daemon.get(f"/assets/{name}").status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/assets/playground.css", "/assets/swagger-ui-bundle.js"])
def test_a_cache_asks_again_and_is_told_nothing_changed(daemon, path):
    first = daemon.get(path, headers=BROWSER)
    assert first.status_code == 200 and first.headers["Cache-Control"] == "no-cache"
    again = daemon.get(path, headers={**BROWSER, "If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and not again.content
    assert again.headers["ETag"] == first.headers["ETag"]
    other = daemon.get(path, headers={**BROWSER, "If-None-Match": '"x"'})
    assert other.status_code == 200 and other.content == first.content


def test_the_renderer_is_sent_compressed(daemon):
    answer = daemon.get("/assets/swagger-ui-bundle.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) < len(answer.content)
    refused = daemon.get("/assets/swagger-ui-bundle.js", headers={"Accept-Encoding": "identity"})
    assert refused.status_code == 406
    assert "gzip" in refused.json()["detail"]


@pytest.mark.parametrize("name", ["x", "playground.html.", "PLAYGROUND.JS", "assets%2Fplayground.js"])
def test_there_is_nothing_else(daemon, name):
    answer = daemon.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
