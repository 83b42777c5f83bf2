"""Logs as they grow: to every listener once and in order, resumed where they were, ended by one event."""

import asyncio
import json

import pytest
from fastapi.testclient import TestClient

from builders import service_trees
from contimg.client.client import events
from contimg.service.app import create
from contimg.service.streams import Hub


def told(stream):
    return list(events(iter(b"".join(stream).decode().split("\n"))))


async def collect(stream, into):
    async for part in stream:
        into.append(part)


def test_listeners_hear_all_in_order_and_one_end(tmp_path):
    log, state = tmp_path / "log", ["running"]

    async def scene():
        hub = Hub(0.01, 100)
        heard = [[] for _ in range(20)]
        look = lambda _: (log, state[0])  # noqa: E731
        tasks = [asyncio.create_task(collect(hub.follow("batch", 1, look, 0), one)) for one in heard]
        for number in range(30):
            with log.open("a") as stream:
                stream.write(f"line {number} é\n")
            await asyncio.sleep(0.005)
        state[0] = "done"
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        assert hub.listeners == 0
        return heard

    for one in asyncio.run(scene()):
        found = told(one)
        text = "".join(json.loads(data)["logs"] for name, _, data in found if name is None)
        assert text == "".join(f"line {number} é\n" for number in range(30))
        assert [(name, json.loads(data)) for name, _, data in found if name] == [
            ("complete", {"status": "done"})
        ]
        numbers = [int(number) for _, number, _ in found]
        assert numbers == sorted(numbers)


def test_a_comment_keeps_a_silent_stream_alive(tmp_path):
    async def scene():
        hub, heard = Hub(0.01, 1), []
        stream = hub.follow("batch", 1, lambda _: (None, "pending"), 0, keepalive_s=0.02)
        async for part in stream:
            heard.append(part)
            if len(heard) == 4:
                break
        await stream.aclose()
        return heard

    assert asyncio.run(scene())[1:] == [b": waiting\n\n"] * 3


@pytest.fixture
def finished(tmp_path):
    """A service with a batch that has ended and left a log."""
    settings = service_trees.make(tmp_path, tiles=1)
    client = TestClient(create(settings, work=False))
    client.post("/api/batch/image", json={"ms_paths": ["../x.ms"]})
    settings.folder(1).mkdir(parents=True)
    (settings.folder(1) / "output.log").write_text("one\ntwo\n")
    return client


def test_the_events_have_the_guide_s_form(finished):
    answer = finished.get("/api/batch/1/logs")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (
        'id: 8\ndata: {"logs": "one\\ntwo\\n"}\n\nid: 8\nevent: complete\ndata: {"status": "failed"}\n\n'
        in answer.text
    )


def test_a_reconnect_gets_the_rest_and_after_the_end_nothing(finished):
    rest = finished.get("/api/batch/1/logs", headers={"Last-Event-ID": "4"})
    assert json.loads(events(iter(rest.text.split("\n"))).__next__()[2]) == {"logs": "two\n"}
    assert finished.get("/api/batch/1/logs", headers={"Last-Event-ID": "8"}).status_code == 204
    assert finished.get("/api/batch/77/logs", headers={"Last-Event-ID": "8"}).status_code == 204
    assert finished.get("/api/batch/77/logs").status_code == 404
    assert finished.get("/api/batch/1/logs", headers={"Last-Event-ID": "none"}).status_code == 200


def test_an_item_s_log_is_a_stream_too(finished):
    assert "one" in finished.get("/api/jobs/id/2/logs").text


def test_no_more_listeners_than_there_may_be(tmp_path):
    settings = service_trees.make(tmp_path, tiles=1, service={"max_listeners": 1})
    client = TestClient(create(settings, work=False))
    client.post("/api/batch/image", json={"ms_paths": service_trees.paths(0)})
    client.app.state.service.hub.listeners = 1
    assert client.get("/api/batch/1/logs").status_code == 429
