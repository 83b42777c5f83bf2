"""The options of `notify:`: whom a run tells that it has ended, and how."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_serializer

from contimg.core import values
from contimg.core.options import NUMBER, Name, Options, key

_NAMED = re.compile(r"\$\w+|\$\{\w+\}|@/.+")
NOT_KEPT = "(a literal secret, kept nowhere: write $NAME or @/path)"


def secret(configured: str | None) -> str:
    """What a secret's key means: the environment's value of $NAME, the content of @/path, or what is written.

    Raises
    ------
    ValueError
        The variable is not set, or the secret was not kept.
    OSError
        The file cannot be read.
    """
    found = configured or ""
    if found == NOT_KEPT:
        raise ValueError("the address was given as it is to another run and not kept; write $NAME or @/path")
    if found.startswith("@/"):
        return Path(found[1:]).read_text().strip()
    if _NAMED.fullmatch(found):
        name = found.strip("${}")
        if name not in os.environ:
            raise ValueError(f"${name} is not set in the environment")
        return os.environ[name].strip()
    return found


class NotifyOptions(Options):
    """Who is told when a run has ended. What cannot be delivered is said on the terminal and fails nothing."""

    when: Literal["always", "failure", "never"] = key(
        "always", "Tell of every end, of runs with an error only, or of none."
    )
    candidates: bool = key(
        False,
        "Send the notices of candidates too (variability/notices.json, docs/ese.md), each once and again when it "
        "changed, by the same ways: the webhook gets the notice itself. `when` does not hold for them.",
    )
    webhook: Name | None = key(
        None,
        "Address that gets the message by HTTP POST as JSON: text (which chat services show), status, name, "
        "counts, report. It is a secret: write $NAME (from the environment) or @/path/of/a/file that only "
        "you may read. A literal address works, but is kept nowhere: only the very run that is given it uses it.",
        expects="$NAME, @/path, or an http or https address, or null",
        example="$CONTIMG_WEBHOOK",
    )
    email: Annotated[tuple[Name, ...], BeforeValidator(values.listed)] = key(
        (),
        "Addresses that get the message by mail.",
        expects="addresses such as [observer@example.org]",
        example=["observer@example.org"],
    )
    smtp: Name = key("localhost:25", "Mail server that takes it, without encryption.", expects="host:port")
    sender: Name = key("contimg@localhost", "Address that the mail is from.", expects="an address")
    command: Name | None = key(
        None,
        "Program with its arguments that gets the message on its standard input, and CONTIMG_STATUS (ok or failed) "
        "and CONTIMG_REPORT in its environment. It is run directly, without a shell. With a token in it: $NAME or "
        "@/path; what is literal is kept nowhere.",
        expects="a command line, or null",
        example="mail -s 'the night' observer",
    )
    timeout_s: Annotated[float, Field(gt=0, le=600), NUMBER] = key(
        20.0, "How long each way may take.", unit="s"
    )

    @field_serializer("webhook", "command")
    def _by_name_only(self, value: str | None) -> str | None:
        """What is written of a secret, wherever a configuration is: how it is named, never what it is."""
        return value if value is None or _NAMED.fullmatch(value) else NOT_KEPT

    def handed_on(self) -> tuple[NotifyOptions, dict[str, str]]:
        """These options with every literal secret named by an environment variable, and those variables."""
        variables, named = {}, {}
        for field in ("webhook", "command"):
            value = getattr(self, field)
            if value is not None and not _NAMED.fullmatch(value):
                variables[f"CONTIMG_NOTIFY_{field.upper()}"] = value
                named[field] = f"$CONTIMG_NOTIFY_{field.upper()}"
        return self.model_copy(update=named), variables
