"""The handle on a process that runs AOFlagger (`contimg.convert.flag_worker`): started, given blocks, stopped."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from contimg.core.errors import SystemFault
from contimg.core.processes import start_module


class FlagProcess:
    """A flagging process and the pipes to it; `job` as in `contimg.convert.flag_worker.main`, without the pipes."""

    def __init__(self, job: dict[str, Any]) -> None:
        request_end, self._requests = os.pipe()
        self._replies, reply_end = os.pipe()
        request = json.dumps({**job, "requests": request_end, "replies": reply_end})
        try:
            self._process = start_module(
                "contimg.convert.flag_worker", request, inherited=(job["memory"], request_end, reply_end)
            )
        finally:
            os.close(request_end)
            os.close(reply_end)
        self._answers = os.fdopen(self._replies, "r")

    def flag(self, first: int, count: int) -> None:
        """Flag the block in this worker's buffer: baselines first ... first + count."""
        os.write(self._requests, f"{first} {count}\n".encode())
        self.wait_for("done")

    def wait_for(self, word: str) -> None:
        """Wait for the process to say something; raises `SystemFault` if it has ended instead."""
        answer = self._answers.readline().strip()
        if answer != word:
            code = self._process.wait()
            raise SystemFault(
                f"the flagging process ended with code {code} before its work did; its message is above (a signal "
                "-9 is most often too little memory); flagging.aoflagger: false does without it"
            )

    def stop(self) -> None:
        """Close the pipes, at which the process ends; end it if it does not."""
        os.close(self._requests)
        self._answers.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
