"""Send the notices of candidates, each once: what is new in `variability/notices.json`, by the ways of `notify:`.

What went out is kept in `state/notices.json`: the number of the last record of each candidate. A way that failed is
tried again at the end of the next run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.config.notify import NotifyOptions
from contimg.core.names import NOTICES
from contimg.core.products import read_json, write_json
from contimg.report.notify import Message, deliver

SENT = "state/notices.json"


@dataclass(frozen=True)
class Notice(Message):
    """A notice of a candidate as a message: by webhook the notice itself, by mail and command its text and its JSON.

    Attributes
    ----------
    content : mapping
        In the shape of GCN's core schema.
    """

    content: Mapping[str, Any]

    def body(self) -> dict[str, Any]:
        """What is posted."""
        return dict(self.content)


def message(content: Mapping[str, Any], tree: Path) -> Notice:
    """A notice as a message."""
    (name,), kind = content["id"], str(content["alert_type"])
    text = f"{content['additional_info']}\n\n{json.dumps(content, indent=1)}"
    return Notice(kind, name, text, {}, str(tree / "variability" / "candidates"), content)


def send_new(tree: Path, options: NotifyOptions) -> list[str]:
    """Send the notices of a products tree that have not gone out as they are now, if `notify.candidates` is on.

    Returns
    -------
    list of str
        One line for what was sent, and one for each way that failed.
    """
    path = tree / NOTICES
    if not options.candidates or not path.is_file():
        return []
    record = tree / SENT
    sent: dict[str, int] = read_json(record) if record.is_file() else {}
    lines, count = [], 0
    for content in read_json(path):
        (name,), number = content["id"], int(content["record_number"])
        if sent.get(name, 0) >= number or (content["alert_type"] == "retraction" and name not in sent):
            continue  # what was never told needs no taking back
        shown = {key: value for key, value in content.items() if key != "digest"}
        failed = deliver(message(shown, tree), options)
        lines += failed
        if not failed:
            sent[name], count = number, count + 1
            write_json(record, sent)
    if count:
        lines.append(f"{count} notice(s) of candidates sent")
    return lines
