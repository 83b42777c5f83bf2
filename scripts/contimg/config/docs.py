"""The typed configuration written out: `config/config.yaml`, its JSON schema and its page in docs/.

Whoever changes a key changes it in `contimg.config.model` or `contimg.core.options` and runs `contimg config --write`.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contimg.config.model import Config
from contimg.core.messages import expected, section_of
from contimg.core.provenance import REPOSITORY
from contimg.image.options import SHIPPED_TIERS, Tier, load_tiers

_WIDTH = 110
_YAML_HEAD = """\
yaml-language-server: $schema=config.schema.json

What to process and how. Every key is here with its default; whatever is left out keeps it.

Over this file go, in this order, config/site.yaml (what differs at your site; not under version control), the
files of --configfile and the pairs of --config:
  snakemake --cores 8 mosaic --configfile night.yaml --config start=2025-10-28 end=2025-10-31
A key of a section, on the command line: --config imaging='{robust: 0, niter: 5000}'
`contimg config` shows the outcome. In brackets: the unit; what may be written.
"""
_PAGE_HEAD = """\
# Configuration

A run reads [config/config.yaml](../config/config.yaml), then `config/site.yaml` (what differs at your site: not there
until you write it, and not under version control), then each file given with `--configfile`, then the pairs given
with `--config`; the later wins, key by key. The commands of `contimg` that need a configuration
take the same two options, and `contimg config` shows what comes out:

```
snakemake --cores 8 mosaic --configfile night.yaml --config start=2025-10-28 end=2025-10-31
snakemake --cores 8 --config calibrator=3C286 transit_date=2025-10-30 imaging='{robust: 0, niter: 5000}'
contimg config --configfile night.yaml --config start=2025-10-28
```

An unknown key or a value that cannot be used ends the run before it starts, with one line that names the
key, what was found and what to write. An editor that knows JSON schemas checks a file as it is written,
against [config/config.schema.json](../config/config.schema.json).

## How values are written

- **Times** are UTC: `2025-10-30`, `2025-10-30T13:05`, `2025-10-30 13:05:09.5`, with or without `Z`, quoted or
  not. A bare date is its 00:00; `start` is inclusive, `end` exclusive. A time with an offset (`+02:00`) is
  converted.
- **No value** is `null`, `none`, `~` or nothing at all.
- **Lists** are YAML lists or, on the command line, comma-separated:
  `--config exclude=2025-10-30T13:00:00,2025-10-30T13:05:09`.
- **Names** of antennas and calibrators are names even where they look like numbers: antenna 103 is the one
  called 103.
- **Paths** are relative to the directory that the command is started in; `~` and `$NAME` are expanded.
- **A section** takes its keys below it in YAML, or in braces on the command line:
  `--config imaging='{niter: 5000}'`. Keys that are not named keep their values.
- `auto` leaves a key to its quality tier (table at the end) or to beam and field; an explicit value wins.
"""
_TIERS_HEAD = """\
## Quality tiers

`imaging.quality_tier` chooses a row of [config/quality_tiers.yaml](../config/quality_tiers.yaml); the keys
of `imaging` left on `auto` take its values. `imsize` and `cell_arcsec` follow from the beam and the field of
each tile unless the tier names them.
"""


def config_yaml() -> str:
    """Render `config/config.yaml`: every key, its default, and a comment with meaning, unit and bounds."""
    lines = [f"# {line}".rstrip() for line in _YAML_HEAD.splitlines()]
    return "\n".join([*lines, *_yaml_section(Config, "")]) + "\n"


def _yaml_section(model: type[Any], indent: str) -> list[str]:
    properties = model.model_json_schema()["properties"]
    defaults = model().model_dump(mode="json")
    mark = f"{indent}# "
    lines = []
    for name in model.model_fields:
        section = section_of(model, name)
        if section is not None:
            text = (section.__doc__ or "").split("\n")[0]
            lines += ["", "", f"# {text}", f"{name}:", *_yaml_section(section, indent + "  ")[1:]]
            continue
        schema = properties[name]
        takes = "; ".join(part for part in (schema.get("unit", ""), expected(schema)) if part)
        comment = f"{schema['description']} [{takes}]"
        lines += ["", *textwrap.wrap(comment, _WIDTH, initial_indent=mark, subsequent_indent=mark)]
        lines.append(f"{indent}{name}: {_yaml_value(defaults[name])}")
    return lines


def _yaml_value(value: Any) -> str:
    import yaml

    return (
        yaml.safe_dump(value, default_flow_style=True, width=_WIDTH).removesuffix("\n").removesuffix("\n...")
    )


def config_schema() -> str:
    """Render `config/config.schema.json`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        del model["title"]  # pydantic's titles are the keys over again
        for key in model["properties"].values():
            key.pop("title", None)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def configuration_page() -> str:
    """Render `docs/configuration.md`."""
    parts = [_PAGE_HEAD, "## What, where and when\n", _table(Config)]
    for name in Config.model_fields:
        section = section_of(Config, name)
        if section is not None:
            parts += [f"## `{name}:`\n", (section.__doc__ or "").split("\n")[0] + "\n", _table(section)]
    return "\n".join([*parts, _TIERS_HEAD, _tier_table(load_tiers(SHIPPED_TIERS))])


def _table(model: type[Any]) -> str:
    properties = model.model_json_schema()["properties"]
    defaults = model().model_dump(mode="json")
    rows = ["| key | default | unit | takes | meaning |", "| --- | --- | --- | --- | --- |"]
    for name in model.model_fields:
        if section_of(model, name) is None:
            schema = properties[name]
            cells = (schema.get("unit", ""), expected(schema), schema["description"])
            rows.append(" | ".join([f"| `{name}`", f"`{_yaml_value(defaults[name])}`", *cells]) + " |")
    return "\n".join(rows) + "\n"


def _tier_table(tiers: Mapping[str, Tier]) -> str:
    rows = [f"| key | {' | '.join(tiers)} |", "| --- |" + " --- |" * len(tiers)]
    for name in Tier.model_fields:
        rows.append(
            f"| `{name}` | " + " | ".join(f"{_yaml_value(getattr(t, name))}" for t in tiers.values()) + " |"
        )
    return "\n".join(rows) + "\n"


RENDERED: Mapping[str, Callable[[], str]] = {
    "config/config.yaml": config_yaml,
    "config/config.schema.json": config_schema,
    "docs/configuration.md": configuration_page,
}


def stale(root: Path = REPOSITORY) -> dict[Path, str]:
    """Give the rendering of every file below `root` that is missing or differs from it."""
    wanted = {root / name: render() for name, render in RENDERED.items()}
    return {
        path: text
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


def write(root: Path = REPOSITORY) -> list[Path]:
    """Write what is stale below `root`; give the files that were written."""
    changed = stale(root)
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(changed)
