"""The options of `notify:`: whom a run tells that it has ended, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from contimg.core import values
from contimg.core.options import NUMBER, Name, Options, key


class NotifyOptions(Options):
    """Who is told when a run has ended. What cannot be delivered is said on the terminal and fails nothing."""

    when: Literal["always", "failure", "never"] = key(
        "always", "Tell of every end, of runs with an error only, or of none."
    )
    webhook: Name | None = key(
        None,
        "Address that gets the message by HTTP POST as JSON: text (which chat services show), status, name, "
        "counts, report. $NAME is taken from the environment.",
        expects="an http or https address, or null",
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
        "and CONTIMG_REPORT in its environment. It is run directly, without a shell.",
        expects="a command line, or null",
        example="mail -s 'the night' observer",
    )
    timeout_s: Annotated[float, Field(gt=0, le=600), NUMBER] = key(
        20.0, "How long each way may take.", unit="s"
    )
