"""Notices of candidates go out once each, as they are, and again only when something changed."""

import http.server
import json
import socketserver
import threading

import pytest

from contimg.config.notify import NotifyOptions
from contimg.core.names import NOTICES
from contimg.core.products import read_json, write_json
from contimg.report.notices import SENT, send_new

FIRST = {
    "id": ["J083454.9+553421_2025-10"],
    "alert_type": "initial",
    "record_number": 1,
    "additional_info": "Candidate for an extreme scattering event",
    "digest": "0123",
}


@pytest.fixture
def web():
    """A server of this machine: its address, what it got, and what it answers."""
    received, answer = [], [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer[0])
            self.end_headers()

        def log_message(self, *_):
            return

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", received, answer
        server.shutdown()
        thread.join()


def test_a_notice_goes_out_once_and_again_when_it_changed(tmp_path, web):
    address, received, _ = web
    options = NotifyOptions(candidates=True, webhook=address, when="failure")
    (tmp_path / NOTICES).parent.mkdir()
    assert send_new(tmp_path, options) == []  # no candidates yet
    write_json(tmp_path / NOTICES, [FIRST])
    assert send_new(tmp_path, NotifyOptions(webhook=address)) == []  # off unless asked for
    assert send_new(tmp_path, options) == ["1 notice(s) of candidates sent"]
    assert send_new(tmp_path, options) == []
    assert received == [{key: value for key, value in FIRST.items() if key != "digest"}]
    write_json(tmp_path / NOTICES, [{**FIRST, "alert_type": "retraction", "record_number": 2}])
    send_new(tmp_path, options)
    assert [one["alert_type"] for one in received] == ["initial", "retraction"]


def test_what_was_not_delivered_is_tried_again_and_what_was_never_told_is_not_taken_back(tmp_path, web):
    address, received, answer = web
    options = NotifyOptions(candidates=True, webhook=address)
    (tmp_path / NOTICES).parent.mkdir()
    write_json(tmp_path / NOTICES, [{**FIRST, "alert_type": "retraction"}])
    assert send_new(tmp_path, options) == []
    write_json(tmp_path / NOTICES, [FIRST])
    answer[0] = 500
    [line] = send_new(tmp_path, options)
    assert line.startswith("notify.webhook: not delivered")
    assert not (tmp_path / SENT).exists()
    answer[0] = 200
    assert send_new(tmp_path, options) == ["1 notice(s) of candidates sent"]
    assert len(received) == 2
    assert read_json(tmp_path / SENT) == {FIRST["id"][0]: 1}


def test_a_command_gets_the_notice_as_text_and_json(tmp_path):
    out = tmp_path / "got"
    options = NotifyOptions(candidates=True, command=f"tee {out}")
    (tmp_path / NOTICES).parent.mkdir()
    write_json(tmp_path / NOTICES, [FIRST])
    send_new(tmp_path, options)
    text = out.read_text()
    assert text.startswith("Candidate for an extreme scattering event")
    assert json.loads(text[text.index("{") :])["id"] == FIRST["id"]
