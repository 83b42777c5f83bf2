"""The errors of the pipeline: every message is one readable line that ends in what to do."""

from __future__ import annotations


class ContimgError(Exception):
    """Base of all errors raised on purpose: says what was expected, what was found, what to do."""


class ConfigError(ContimgError):
    """A configuration key is unknown or its value cannot be used."""


class InputError(ContimgError):
    """A raw file, Measurement Set, table or image cannot be read or is not what it should be."""


class NamedFileError(ConfigError, InputError):
    """A file that the configuration names is not what it should be; no data are to blame."""


class Rejected(ContimgError):
    """The data are too bad for a product. This is a result: the message becomes the product's reason."""


class SystemFault(ContimgError):
    """The machine or a tool failed (missing program, full disk): the job failed, the data did not."""


class DiskFull(SystemFault):
    """There is no room for a product: the run stops and goes on when there is; nothing is rejected for it."""
