import http.server
import json
import socketserver
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from contimg.config.model import Config
from contimg.config.notify import NotifyOptions
from contimg.report.notify import Message, send

MESSAGE = Message("failed", "2025-10-30_2025-10-31", "12 images\nerror, 1×: gone", {"errors": 1}, "/p/r.html")


@contextmanager
def serving(handler):
    """A server of this machine on a free port, for the time of the block."""
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def web(answer, received):
    """A handler that keeps what is posted and answers with a status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_):
            return

    return Handler


def mail(received):
    """A handler that speaks as much SMTP as it takes to get one message."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 test\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go\r\n")
                    while (text := self.rfile.readline()) != b".\r\n":
                        received.append(text.decode())
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    return Handler


def test_a_webhook_gets_the_message_as_json(monkeypatch):
    received = []
    with serving(web(200, received)) as port:
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{port}/x")
        assert send(MESSAGE, NotifyOptions(webhook="$HOOK")) == []
    assert received[0]["status"] == "failed"
    assert received[0]["text"].startswith("12 images")
    assert received[0]["counts"] == {"errors": 1}


def test_mail_goes_to_every_address():
    received = []
    with serving(mail(received)) as port:
        options = NotifyOptions(email=("a@example.org", "b@example.org"), smtp=f"127.0.0.1:{port}")
        assert send(MESSAGE, options) == []
    text = "".join(received)
    assert "To: a@example.org, b@example.org" in text
    assert "Subject: contimg 2025-10-30_2025-10-31: failed" in text
    assert "/p/r.html" in text


def test_a_command_gets_the_message_without_a_shell(tmp_path):
    script = tmp_path / "tell.py"
    script.write_text(
        "import os, sys\n"
        "open(sys.argv[1], 'w').write(os.environ['CONTIMG_STATUS'] + ' ' + sys.argv[2] + ' ' + sys.stdin.read())\n"
    )
    out = tmp_path / "told"
    assert send(MESSAGE, NotifyOptions(command=f"{sys.executable} {script} {out} '$HOME; x'")) == []
    assert out.read_text().startswith("failed $HOME; x 12 images")


def test_what_cannot_be_delivered_is_said_and_the_other_ways_are_still_gone(tmp_path):
    received = []
    with serving(web(500, received)) as port:
        options = NotifyOptions(
            webhook=f"http://127.0.0.1:{port}/",
            email=("a@example.org",),
            smtp="127.0.0.1:1",
            command=f"{sys.executable} -c 'raise SystemExit(3)'",
        )
        failed = send(MESSAGE, options)
    assert [line.split(":")[0] for line in failed] == ["notify.webhook", "notify.email", "notify.command"]
    assert len(received) == 1
    (line,) = send(MESSAGE, NotifyOptions(webhook="ftp://x"))
    assert "expected an http or https address" in line


@pytest.mark.parametrize(
    ("when", "status", "told"), [("failure", "ok", 0), ("failure", "failed", 1), ("never", "failed", 0)]
)
def test_when_says_of_which_ends_somebody_is_told(when, status, told):
    received = []
    with serving(web(200, received)) as port:
        options = NotifyOptions(webhook=f"http://127.0.0.1:{port}/", when=when)
        assert send(Message(status, "n", "t", {}, "r"), options) == []
    assert len(received) == told


def drip(first):
    """A handler that answers a byte now and then, each before a socket's timeout."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                self.request.sendall(first)
                for _ in range(100):
                    self.request.sendall(b"a")
                    time.sleep(0.05)
            except OSError:
                return

    return Handler


@pytest.mark.parametrize(
    ("key", "value", "first"),
    [("webhook", "http://127.0.0.1:{}/x", b"HTTP/1.1 200 OK\r\nX: "), ("smtp", "127.0.0.1:{}", b"220-")],
)
def test_a_server_that_answers_byte_by_byte_is_not_waited_for(key, value, first):
    with serving(drip(first)) as port:
        options = {key: value.format(port), "timeout_s": 0.3}
        options |= {"email": ("a@b.c",)} if key == "smtp" else {}
        began = time.monotonic()
        (line,) = send(MESSAGE, NotifyOptions(**options))
    assert "no end after 0.3 s (timeout_s)" in line
    # the server's own end is waited for by this test, not by the run
    assert time.monotonic() - began < 0.3 + 100 * 0.05 + 2


def test_a_command_that_leaves_a_child_is_not_waited_for():
    began = time.monotonic()
    (line,) = send(MESSAGE, NotifyOptions(command="sh -c 'sleep 5 & exit 0'", timeout_s=0.3))
    assert line.startswith("notify.command: not delivered")
    assert time.monotonic() - began < 3


SECRET = "T0/B0/SECRETSECRET"


@pytest.mark.parametrize(
    "address",
    [
        f"https://hooks.invalid:{SECRET}/x",
        f"{SECRET}",
        f"ftp://{SECRET}/x",
        f"http://hooks.invalid/{SECRET} x",
    ],
)
def test_no_part_of_a_secret_is_said(address, monkeypatch, tmp_path):
    monkeypatch.setenv("HOOK", address)
    (tmp_path / "hook").write_text(address + "\n")
    for named in (address, "$HOOK", "${HOOK}", f"@{tmp_path / 'hook'}"):
        (line,) = send(MESSAGE, NotifyOptions(webhook=named, timeout_s=5))
        assert "SECRETSECRET" not in line
    (line,) = send(MESSAGE, NotifyOptions(command=f"{sys.executable} -c 'raise ValueError(1)' {SECRET}"))
    assert "SECRETSECRET" not in line


def test_what_is_not_set_or_was_not_kept_says_what_to_do(monkeypatch):
    monkeypatch.delenv("NOSUCH", raising=False)
    (line,) = send(MESSAGE, NotifyOptions(webhook="$NOSUCH"))
    assert "$NOSUCH is not set in the environment" in line
    kept = NotifyOptions.model_validate(NotifyOptions(webhook="https://x.invalid/y").model_dump(mode="json"))
    (line,) = send(MESSAGE, kept)
    assert "write $NAME or @/path" in line


def test_a_secret_is_written_nowhere_and_handed_on_by_the_environment():
    config = Config.model_validate(
        {"notify": {"webhook": f"https://x.invalid/{SECRET}", "command": f"tell {SECRET}"}}
    )
    assert "SECRETSECRET" not in json.dumps(config.model_dump(mode="json"))
    assert "SECRETSECRET" not in str(config.model_dump())
    named, variables = config.notify.handed_on()
    assert variables == {
        "CONTIMG_NOTIFY_WEBHOOK": f"https://x.invalid/{SECRET}", "CONTIMG_NOTIFY_COMMAND": f"tell {SECRET}"
    }  # fmt: skip
    assert named.model_dump()["webhook"] == "$CONTIMG_NOTIFY_WEBHOOK"
    by_name = NotifyOptions(webhook="@/etc/contimg/hook")
    assert by_name.model_dump()["webhook"] == "@/etc/contimg/hook"
    assert by_name.handed_on() == (by_name, {})


@pytest.mark.parametrize(
    "options", [{"webhook": "http://127.0.0.1:99999/T0SECRET"}, {"smtp": "127.0.0.1:99999"}]
)
def test_an_address_that_no_library_expects_is_not_taken_for_delivered(options, capfd):
    (line,) = send(
        MESSAGE, NotifyOptions(**{"email": ("a@example.org",)} | options if "smtp" in options else options)
    )
    assert "not delivered: " in line
    assert "T0SECRET" not in line + "".join(capfd.readouterr())
