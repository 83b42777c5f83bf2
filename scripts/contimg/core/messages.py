"""What is wrong with a configuration, said in one line: the key, what was found, what to write.

`explain` turns pydantic's list of failures into that line; `check_disk` and `catalogued` look at what no type
can know: whether the directories, files and the calibrator that the configuration names are there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


_LONGEST = 60  # characters of a value in a message
_MOST = 4  # other keys named behind the first


def found(value: Any) -> str:
    """Show a value in a message: short, on one line."""
    if value is None:
        return "nothing"
    shown = repr(value) if isinstance(value, str) else " ".join(str(value).split())
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 2] + " …"


def expected(schema: Mapping[str, Any]) -> str:
    """Say what a key takes: `auto or a number from -2 to 2`, from its JSON schema, without its unit."""
    if "expects" in schema:
        return str(schema["expects"])
    if "anyOf" in schema:
        choices = sorted(schema["anyOf"], key=lambda choice: "const" not in choice)
        words = [expected(choice) for choice in choices]
        return ", or ".join(words) if "null" in words else " or ".join(words)
    if "enum" in schema:
        *others, last = schema["enum"]
        return f"{', '.join(others)} or {last}"
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return ("a number" if kind == "number" else "a whole number") + _bounds(schema)
    return {"boolean": "true or false", "null": "null"}.get(str(kind), f"a {kind}")


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    bounds = (("at least", low), ("above", above), ("at most", high), ("below", below))
    words = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
    return " " + " and ".join(words) if words else ""


def keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """List every key of a model and of its sections, as paths such as ("imaging", "robust")."""
    for name in model.model_fields:
        yield (*above, name)
        section = section_of(model, name)
        if section is not None:
            yield from keys(section, (*above, name))


def section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Give the model of a section, or None for a key that holds a value."""
    kind = model.model_fields[name].annotation
    return kind if isinstance(kind, type) and hasattr(kind, "model_fields") else None


def explain(error: ValidationError, model: type[BaseModel], under: str = "") -> str:
    """Say in one line what pydantic found wrong.

    Parameters
    ----------
    error : ValidationError
        From the validation of `model`.
    model : type of BaseModel
        The model that was validated.
    under : str
        The section that the model is, if it is one.

    Returns
    -------
    str
        The first failure in full; the keys of others are listed behind it.
    """
    lines: dict[str, str] = {}
    for failure in error.errors(include_url=False):
        path, owner, is_key = _place(failure["loc"], model)
        name = ".".join((under, *path) if under else path)
        if name in lines and failure["type"] != "value_error":
            continue
        if failure["type"] == "extra_forbidden":
            lines[name] = _unknown_line(name, path, owner, failure, model)
        else:
            lines[name] = _line(name, path, owner, failure) if is_key else _section_line(name, owner, failure)
    first, *others = lines
    if not others:
        return lines[first]
    listed = others if len(others) <= _MOST else [*others[:_MOST], "…"]
    return f"{lines[first]} (wrong too: {', '.join(listed)})"


def _place(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], type[BaseModel], bool]:
    """Follow a failure's location to its key; what lies deeper (list items, union members) is no key.

    Returns the path, the model at its end (the section itself, or the one that holds the key), and whether the
    path ends at a known key that holds a value.
    """
    path: list[str] = []
    owner = model
    for step in loc:
        path.append(str(step))
        if step not in owner.model_fields:
            return path, owner, False
        section = section_of(owner, str(step))
        if section is None:
            return path, owner, True
        owner = section
    return path, owner, False


def _line(name: str, path: Sequence[str], owner: type[BaseModel], failure: Any) -> str:
    """Say what is wrong with a key that holds a value."""
    schema = owner.model_json_schema()["properties"][path[-1]]
    unit = f" [{schema['unit']}]" if "unit" in schema and "expects" not in schema else ""
    why = f" ({failure['ctx']['error']})" if failure["type"] == "value_error" else ""
    was = "missing" if failure["type"] == "missing" else f"found {found(failure['input'])}{why}"
    return f"{name}: {was}; write {expected(schema)}{unit}"


def _section_line(name: str, owner: type[BaseModel], failure: Any) -> str:
    """Say what is wrong with a section, or with all of the configuration."""
    if failure["type"] == "value_error":
        return str(failure["ctx"]["error"])
    was = "missing" if failure["type"] == "missing" else f"found {found(failure['input'])}"
    inside = next(iter(owner.model_fields))
    return f"{name}{': ' if name else ''}{was}; write keys and values below it, such as {{{inside}: …}}"


def _unknown_line(
    name: str, path: Sequence[str], owner: type[BaseModel], failure: Any, model: type[BaseModel]
) -> str:
    """Say what is wrong with a key that does not exist."""
    key, colon, rest = path[-1].partition(":")
    if colon and failure["input"] is None:
        return f"{name}: no such key; write a blank after the colon, '{key}: {rest}'"
    return f"{name}: no such key (found {found(failure['input'])}); {_suggestion(path, owner, model)}"


_OTHER_WORDS = {
    "date": "write start=2025-10-30 end=2025-10-31",
    "night": "write start=2025-10-30 end=2025-10-31",
    "input": "did you mean incoming?",
    "output": "did you mean products?",
    "cores": "write --cores, outside --config",
    "antennas": "did you mean flagging.flag_antennas?",
    "tile": "write start=2025-10-30T13:00:00, or the tile's path as the target",
}
"""What people call what is called otherwise here."""


def _suggestion(path: Sequence[str], owner: type[BaseModel], model: type[BaseModel]) -> str:
    """Name the key that was probably meant: a near miss in this section, then the same key elsewhere."""
    wrong = path[-1].lower()
    if len(path) == 1 and wrong in _OTHER_WORDS:
        return _OTHER_WORDS[wrong]
    every = {".".join(known): known for known in keys(model)}
    elsewhere = every | {known[-1]: known for known in reversed(every.values())}
    here = difflib.get_close_matches(wrong, list(owner.model_fields), n=1)
    if here and wrong not in elsewhere:
        return f"did you mean {'.'.join([*path[:-1], here[0]])}?"
    near = difflib.get_close_matches(wrong, list(elsewhere), n=1)
    if near:
        known = elsewhere[near[0]]
        nested = f" On the command line: {known[0]}='{{{known[-1]}: …}}'" if len(known) > 1 else ""
        return f"did you mean {'.'.join(known)}{' at the top' if path[:-1] and not nested else ''}?{nested}"
    return f"the keys are {', '.join(owner.model_fields)}"


def read_yaml(path: Path) -> Any:
    """Read a YAML or JSON file; a ConfigError says what is wrong with it."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); write the path of a YAML file"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
