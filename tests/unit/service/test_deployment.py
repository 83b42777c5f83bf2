"""Deployment: the unit and the proxy of docs/service.md, whose forwarded headers are believed, slow readers."""

import configparser
import re
import shlex
import socket
import sys
import threading
import time

import httpx
import pytest
import uvicorn
import yaml
from fastapi.testclient import TestClient

from builders import service_trees
from contimg.cli.main import _parser
from contimg.cli.serve import listening
from contimg.client import Client
from contimg.core.provenance import REPOSITORY
from contimg.service import app as service_app
from contimg.service.app import create
from contimg.service.tokens import Tokens

PAGE = (REPOSITORY / "docs" / "service.md").read_text()


def block(first):
    """The block of the page that begins with a line."""
    return next(part for part in PAGE.split("```")[1::2] if part.lstrip("\n").startswith(first))


def test_the_unit_starts_the_service_and_leaves_runs_alone():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(block("# /etc/systemd"))
    assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program.startswith(service["WorkingDirectory"] + "/.venv/bin/contimg")
    assert _parser("serve").parse_args(words).configfile
    assert service["KillMode"] == "process"
    assert service["ProtectSystem"] == "strict"
    assert "/data/products" in service["ReadWritePaths"].split()
    assert service["UMask"] == "0027"


def test_the_page_s_settings_are_ones_and_its_proxy_passes_what_they_need(tmp_path):
    told = yaml.safe_load(block("yaml").removeprefix("yaml"))["service"]
    options = service_trees.make(tmp_path, tiles=0, service=told).options
    (name,) = options.names
    nginx, caddy = block("# nginx"), block("# Caddy")
    for line in (
        f"server_name {name};",
        f"proxy_pass http://{options.host}:{options.port};",
        "proxy_set_header Host $host;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_buffering off;",
        f"client_max_body_size {options.max_body_kb // 1024}m;",
    ):
        assert line in nginx
    assert f"{name} {{" in caddy
    assert "flush_interval -1" in caddy


FORWARDED = {"Host": "contimg.example.org", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}


class TestBehindAProxy:
    @pytest.fixture
    def made(self, tmp_path):
        settings = service_trees.make(
            tmp_path, tiles=0, service={"names": ["contimg.example.org"], "proxies": ["127.0.0.1"]}
        )
        return create(settings, work=False), Tokens(settings.state).add("observer", "run")

    def test_a_page_of_the_proxy_s_name_is_the_same_site_and_its_cookie_is_for_https(self, made):
        app, token = made
        client = TestClient(app, client=("127.0.0.1", 1), base_url="https://contimg.example.org")
        headers = {**FORWARDED, "Origin": "https://contimg.example.org", "Sec-Fetch-Site": "same-origin"}
        told = client.post("/api/session", json={"token": token}, headers=headers)
        assert told.status_code == 200
        cookie = told.headers["set-cookie"].lower()
        assert {"secure", "httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
        assert client.get("/api/batch", headers=FORWARDED).status_code == 200
        bad = {**headers, "Origin": "https://other.example.org"}
        assert client.post("/api/session", json={"token": token}, headers=bad).status_code == 403

    @pytest.mark.parametrize(("address", "others"), [("127.0.0.1", 401), ("198.51.100.9", 429)])
    def test_the_client_is_who_a_trusted_proxy_says_and_nobody_else(self, made, address, others):
        client = TestClient(made[0], client=(address, 1))
        guess = {**FORWARDED, "Authorization": "Bearer wrong"}
        assert {client.get("/api/batch", headers=guess).status_code for _ in range(15)} == {401, 429}
        # of another client: counted apart only if the address is a proxy's
        told = client.get("/api/batch", headers={**guess, "X-Forwarded-For": "192.0.2.8"})
        assert told.status_code == others


class TestAtAPathOfASite:
    @pytest.fixture
    def made(self, tmp_path):
        told = {"prefix": "/contimg", "names": ["example.org"], "proxies": ["127.0.0.1"]}
        settings = service_trees.make(tmp_path, tiles=0, service=told)
        app = create(settings, work=False)
        site = {"client": ("127.0.0.1", 1), "base_url": "https://example.org", "follow_redirects": False}
        return TestClient(app, **site), Tokens(settings.state).add("observer", "run")

    @pytest.mark.parametrize("before", ["", "/contimg"])  # the proxy takes the path away, or leaves it
    def test_every_link_form_and_file_is_below_it(self, made, before):
        client, token = made
        html = {"Accept": "text/html"}
        away = client.get(f"{before}/", headers=html)
        assert (away.status_code, away.headers["location"]) == (303, "/contimg/login")
        login = client.get(f"{before}/login", headers=html)
        links = re.findall(r'(?:href|src)="([^"]*)"', login.text)
        assert links
        assert all(link.startswith("/contimg/") for link in links)
        for file in ("/static/app.js", "/static/shared/style.css"):
            assert f"/contimg{file}" in links
            assert client.get(f"{before}{file}").status_code == 200
        opened = client.post(f"{before}/api/session", json={"token": token})
        assert opened.status_code == 200
        assert "path=/contimg;" in opened.headers["set-cookie"].lower() + ";"
        assert opened.headers["cache-control"] == "no-store"
        assert client.get(f"{before}/openapi.json").json()["servers"] == [{"url": "/contimg"}]

    def test_a_session_reaches_what_is_below_it(self, made):
        client, token = made
        assert client.post("/contimg/api/session", json={"token": token}).status_code == 200
        assert client.get("/contimg/api/batch").status_code == 200
        assert client.get("/contimg/", headers={"Accept": "text/html"}).status_code == 200
        assert client.get("/contimgs/api/batch").status_code == 404


def test_the_client_speaks_to_a_service_at_a_path():
    asked = []

    def answer(request):
        asked.append(request.url.path)
        return httpx.Response(200, json={"items": [], "total": 0})

    with Client("https://example.org/contimg", transport=httpx.MockTransport(answer)) as client:
        client.batches()
    assert asked == ["/contimg/api/batch"]


def test_a_client_that_reads_nothing_is_given_up(tmp_path, monkeypatch):
    kept = []  # the error and its frames, as a log's handler may keep them: the stream is closed all the same
    monkeypatch.setattr(service_app._LOG, "warning", lambda *_words: kept.append(sys.exc_info()[1]))
    settings = service_trees.make(tmp_path, tiles=1, min_subbands=1, service={"stall_s": 1.0})
    app = create(settings, work=False)
    with TestClient(app) as client:
        number = client.post("/api/batch/image", json={"ms_paths": service_trees.paths(0)}).json()["id"]
    log = settings.folder(number) / "output.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"a line of a log\n" * 2_000_000)  # 32 MB: more than any socket takes
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server, bound = uvicorn.Server(config), listening(config.bind_socket(), 1.0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    hub = app.state.service.hub
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(bound.getsockname())
        reader.sendall(f"GET /api/batch/{number}/logs HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert reader.recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: hub.listeners == 1)
        wait_for(lambda: hub.listeners == 0)  # its place is free again
        wait_for(lambda: not server.server_state.connections)  # and so is its connection
    server.should_exit = True
    thread.join()
    assert kept


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
