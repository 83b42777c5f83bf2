"""Tell somebody that a run has ended: by webhook, by mail, by a command. None of them can fail the run.

Addresses with a token in them are secrets: no line that is said or written has them, nor any part of them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import smtplib
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage

from contimg.config.notify import NotifyOptions, secret

_SHOWN = 200
_SHORT = 4  # parts of an address that are shorter tell nothing


@dataclass(frozen=True)
class Message:
    """What is told.

    Attributes
    ----------
    status : {"ok", "failed"}
        Of a candidate's notice its type.
    name : str
        Of the range, or of the candidate.
    text : str
        A few lines: counts, then causes of what is missing.
    counts : dict
        As in the run report.
    report : str
        Path of the report's page.
    """

    status: str
    name: str
    text: str
    counts: dict[str, object]
    report: str

    def body(self) -> dict[str, object]:
        """What a webhook gets."""
        return asdict(self)


def send(message: Message, options: NotifyOptions) -> list[str]:
    """Send a message every way that is configured, each in `timeout_s` at most, whatever the other end does.

    Returns
    -------
    list of str
        One line for each way that failed, with the key and the reason.
    """
    if options.when == "never" or (options.when == "failure" and message.status == "ok"):
        return []
    return deliver(message, options)


def deliver(message: Message, options: NotifyOptions) -> list[str]:
    """Send a message every way that is configured, whatever `when` says; one line for each way that failed."""
    ways: dict[str, Callable[[Message, NotifyOptions], None]] = {}
    if options.webhook:
        ways["webhook"] = _post
    if options.email:
        ways["email"] = _mail
    if options.command:
        ways["command"] = _command
    lines = (_delivered(way, deliver, message, options) for way, deliver in ways.items())
    return [line for line in lines if line is not None]


def _delivered(
    way: str, deliver: Callable[[Message, NotifyOptions], None], message: Message, options: NotifyOptions
) -> str | None:
    """Deliver in a thread of its own: a server that answers byte by byte passes every timeout of a socket."""
    failed: list[str] = []

    def work() -> None:
        try:
            deliver(message, options)
        except Exception as e:  # noqa: BLE001  whatever it was, it is said without the address, and fails nothing
            failed.append(f"{type(e).__name__}: {_without_secrets(str(e), options)[:_SHOWN]}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(options.timeout_s)
    if thread.is_alive():
        failed.append(f"no end after {options.timeout_s:g} s (timeout_s)")
    return f"notify.{way}: not delivered: {failed[0]}" if failed else None


def _without_secrets(text: str, options: NotifyOptions) -> str:
    """A text without the addresses that are configured, and without what they consist of."""
    for configured in (options.webhook, options.command):
        try:
            known = secret(configured)
        except (OSError, ValueError):
            continue
        for part in sorted({known, *re.split(r"[/:?&=@\s'\"]+", known)}, key=len, reverse=True):
            if len(part) >= _SHORT and part not in ("http", "https"):
                text = text.replace(part, "***")
    return text


def _post(message: Message, options: NotifyOptions) -> None:
    address = secret(options.webhook)
    if not address.startswith(("http://", "https://")):
        raise ValueError("expected an http or https address (its value is not shown)")
    body = json.dumps(message.body()).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=options.timeout_s):
        pass


def _mail(message: Message, options: NotifyOptions) -> None:
    mail = EmailMessage()
    mail["Subject"] = f"contimg {message.name}: {message.status}"
    mail["From"], mail["To"] = options.sender, ", ".join(options.email)
    mail.set_content(f"{message.text}\n\n{message.report}\n")
    host, _, port = options.smtp.partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=options.timeout_s) as server:
        server.send_message(mail)


def _command(message: Message, options: NotifyOptions) -> None:
    done = subprocess.run(
        shlex.split(secret(options.command)),
        input=message.text + "\n",
        text=True,
        env={**os.environ, "CONTIMG_STATUS": message.status, "CONTIMG_REPORT": message.report},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        timeout=options.timeout_s,
    )
    if done.returncode:
        said = (done.stderr or "").strip().splitlines()
        raise subprocess.SubprocessError(f"exit status {done.returncode}{': ' + said[-1] if said else ''}")
