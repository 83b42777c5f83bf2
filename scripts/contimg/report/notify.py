"""Tell somebody that a run has ended: by webhook, by mail, by a command. None of them can fail the run."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import smtplib
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage

from contimg.config.notify import NotifyOptions

_SHOWN = 200


@dataclass(frozen=True)
class Message:
    """What is told.

    Attributes
    ----------
    status : {"ok", "failed"}
    name : str
        Of the range.
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


def send(message: Message, options: NotifyOptions) -> list[str]:
    """Send a message every way that is configured.

    Returns
    -------
    list of str
        One line for each way that failed, with the key and the reason.
    """
    if options.when == "never" or (options.when == "failure" and message.status == "ok"):
        return []
    ways: dict[str, Callable[[Message, NotifyOptions], None]] = {}
    if options.webhook:
        ways["webhook"] = _post
    if options.email:
        ways["email"] = _mail
    if options.command:
        ways["command"] = _command
    failed = []
    for way, deliver in ways.items():
        try:
            deliver(message, options)
        except (
            OSError,
            ValueError,
            smtplib.SMTPException,
            http.client.HTTPException,
            subprocess.SubprocessError,
        ) as e:
            failed.append(f"notify.{way}: not delivered: {type(e).__name__}: {str(e)[:_SHOWN]}")
    return failed


def _post(message: Message, options: NotifyOptions) -> None:
    address = os.path.expandvars(options.webhook or "")
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"found {options.webhook!r}, expected an http or https address")
    body = json.dumps(asdict(message)).encode()
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
    subprocess.run(
        shlex.split(options.command or ""),
        input=message.text + "\n",
        text=True,
        env={**os.environ, "CONTIMG_STATUS": message.status, "CONTIMG_REPORT": message.report},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
        timeout=options.timeout_s,
    )
