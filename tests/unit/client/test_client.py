"""The client against a service that listens on loopback, with the quick workflow behind it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
import uvicorn

from builders import service_sky, service_trees
from contimg.cli.main import main
from contimg.client import Client, ServiceError
from contimg.client.client import events
from contimg.core.provenance import REPOSITORY
from contimg.service.app import create
from contimg.service.tokens import Tokens


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address, token, settings of a service that works."""
    settings = service_trees.make(
        tmp_path_factory.mktemp("served"), tiles=4, min_subbands=1, service={"requests_per_s": 1000.0}
    )
    service_sky.lightcurves(settings.products)
    token = Tokens(settings.state).add("observer", "run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create(settings), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}", token, settings
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(served):
    with Client(*served[:2]) as made:
        yield made


def test_submit_wait_and_follow(client, served):
    service_trees.behave(served[2].config.incoming, t1="reject")
    batch = client.image(service_trees.paths(0, 1))
    text = "".join(client.logs(batch.id))
    ended = client.wait(batch.id, poll_s=0.1, timeout_s=60)
    assert (ended.status, ended.kind) == ("partial", "image")
    assert [item.status for item in ended.items] == ["done", "failed"]
    assert ended.items[1].error == "everything is flagged"
    log = (served[2].folder(batch.id) / "output.log").read_text()
    assert text == log
    assert list(client.logs(batch.id)) == ([log] if log else [])
    assert client.batches(limit=1).items[0].id == batch.id


def test_refusals_say_what_the_service_says(client, served):
    for ask, status, words in (
        (lambda: client.image(["x"], robustness=1), 422, "robustness"),
        (lambda: client.batch(12345), 404, "no batch"),
        (lambda: client.publish(["2025-10-30/0830+55"]), 403, "needs publish"),
        (lambda: Client(served[0], "wrong").batches(), 401, "token"),
        (lambda: Client("http://127.0.0.1:9").health(), 0, "ConnectError"),
    ):
        with pytest.raises(ServiceError, match=words) as refused:
            ask()
        assert refused.value.status == status


def test_tables(client):
    assert client.sources()["source_id"].tolist() == [name for name, *_ in service_sky.SOURCES]
    curve = client.lightcurve(service_sky.SOURCES[0][0])
    assert curve["mjd"].is_monotonic_increasing
    assert len(curve) == 20
    assert client.candidates(5.0)["max_sigma_dev"].tolist() == [6.5]
    assert client.variability(service_sky.SOURCES[0][0]).eta == 1.1


def test_a_key_makes_sending_twice_safe(client):
    body = {"ms_paths": service_trees.paths(2)}
    one, two = (client.submit("image", body, key="twice") for _ in range(2))
    assert one.id == two.id


def test_cancel_and_retry(client, served):
    service_trees.behave(served[2].config.incoming, t3=300)
    batch = client.image(service_trees.paths(3))
    client.cancel(batch.id)
    assert client.wait(batch.id, poll_s=0.1, timeout_s=60).status == "cancelled"
    service_trees.behave(served[2].config.incoming)
    assert client.retry(batch.id).id == batch.id
    assert client.wait(batch.id, poll_s=0.1, timeout_s=60).status == "done"


def test_a_stream_that_was_lost_is_taken_up_where_it_was():
    """The first connection breaks after two events; the second must ask for the rest."""
    asked = []

    class Broken(httpx.SyncByteStream):
        def __iter__(self):
            yield b'id: 4\ndata: {"logs": "one\\n"}\n\n'
            raise httpx.ReadError("gone")

    def answer(request):
        asked.append(request.headers.get("last-event-id"))
        if len(asked) == 1:
            return httpx.Response(200, stream=Broken())
        rest = b'id: 8\ndata: {"logs": "two\\n"}\n\nid: 8\nevent: complete\ndata: {"status": "done"}\n\n'
        return httpx.Response(200, content=rest)

    with Client("http://x", transport=httpx.MockTransport(answer)) as client:
        assert list(client.logs(1)) == ["one\n", "two\n"]
    assert asked == [None, "4"]


def test_events_are_read_as_the_standard_says():
    lines = [": comment", "data: a", "data:b", "", "event: x", "id: 5", "data: c", "", "data: never ended"]
    assert list(events(iter(lines))) == [(None, None, "a\nb"), ("x", "5", "c")]


def test_the_command_line_does_the_same(served, capsys, monkeypatch):
    monkeypatch.setenv("CONTIMG_TOKEN", served[1])
    monkeypatch.setenv("CONTIMG_SERVICE", served[0])
    service_trees.behave(served[2].config.incoming)
    tile = service_trees.tile(0)
    assert main(["batch", "submit", "image", f"{tile}.ms", "--set", "gridder=wproject", "--wait"]) == 0
    said = capsys.readouterr()
    assert f"done       {tile}.ms" in said.out
    assert "ignored: gridder" in said.err
    assert main(["batch", "list", "--limit", "1"]) == 0
    number = capsys.readouterr().out.split()[0]
    assert main(["batch", "show", number]) == 0
    assert f"batch {number}: image, done" in capsys.readouterr().out
    assert main(["batch", "logs", "-f", number]) == 0
    capsys.readouterr()
    assert main(["batch", "cancel", number]) == 2
    assert f"400: batch {number} is done" in capsys.readouterr().err
    assert main(["batch", "submit", "image", "../x.ms", "--wait"]) == 1
    assert main(["batch", "submit", "image", "x", "--set", "robust"]) == 2


def test_the_client_imports_nothing_of_the_pipeline():
    code = "import sys, contimg.client; print(sorted(m for m in sys.modules if m.startswith('contimg.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = done.stdout
    assert "contimg.client" in ours
    assert not [name for name in ("core", "config", "service", "registry") if f"contimg.{name}" in ours]


def test_the_example_notebook_runs(served, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    service_trees.behave(served[2].config.incoming)
    monkeypatch.setenv("CONTIMG_TOKEN", served[1])
    monkeypatch.setenv("CONTIMG_SERVICE", served[0])
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(REPOSITORY / "scripts"), os.environ.get("PYTHONPATH", "")])
    )
    notebook = nbformat.read(REPOSITORY / "docs" / "notebooks" / "service.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = json.dumps(notebook.cells)
    assert "J083454.9+553421" in shown
    assert "'done'" in shown
