"""The settings that each rule's product depends on: those of its `params` that come from the configuration.

`contimg.core.rules` says which parts of the configuration a rule has; here stands what each part is. The rule files
take them (`params: **RUN.settings["image_tile"]`), and so does what `contimg plan` counts (`contimg.plan.graph`).
"""

from __future__ import annotations

from typing import Any

from contimg.calibrate.options import SELECTION_KEYS
from contimg.config.model import Config
from contimg.core.rules import RULES
from contimg.image.options import APPLIED_BY, load_tiers, resolve_imaging
from contimg.photometry.options import LISTED_BY, MEASURED_BY
from contimg.qa.options import INJECTED_BY, NOT_JUDGED_BY
from contimg.telescope.beam import describe_beam

Settings = dict[str, dict[str, Any]]


def settings(config: Config) -> Settings:
    """Take from a configuration what each rule has among its params.

    Parameters
    ----------
    config : Config
        With absolute paths.

    Returns
    -------
    dict of dict
        Plain values by rule and name of the parameter.

    Raises
    ------
    ConfigError
        The quality tier does not exist, or the beam's file cannot be read.
    """
    parts = _parts(config)
    return {
        rule.name: {name: value for part in rule.settings for name, value in parts[part].items()}
        for rule in RULES
    }


def _parts(config: Config) -> Settings:
    """The parts of a configuration that `Rule.settings` names, each one or more params."""

    def of(section: Any, **keys: Any) -> Any:
        return section.model_dump(mode="json", **keys)

    tier = resolve_imaging(config.imaging, load_tiers())
    return {
        "flagging": {"flagging": of(config.flagging)},
        "calibration": {"calibration": of(config.calibration, exclude=SELECTION_KEYS)},
        "interpolate": {"interpolate": config.calibration.interpolate},
        # another content of the beam's file is another beam
        "beam": {"beam": of(config.beam), "beam_file": describe_beam(config.beam).get("digest")},
        "catalog": {"catalog": config.catalog_params},
        # a changed tier makes the image again
        "imaging": {"imaging": of(config.imaging), "tier": of(tier)},
        "averaging": {"imaging": of(config.imaging, include=APPLIED_BY)},
        "averaging_tier": {"tier": of(tier, include=APPLIED_BY)},
        "mosaic": {"mosaic": of(config.mosaic)},
        "judged": {"qa": of(config.qa, exclude=NOT_JUDGED_BY)},
        "injected": {"qa": of(config.qa, include=INJECTED_BY)},
        "flux_snr": {"flux_snr": config.qa.flux_snr},
        "listed": {"photometry": of(config.photometry, include=LISTED_BY)},
        "measured": {"photometry": of(config.photometry, include=MEASURED_BY)},
        "variability": {"variability": of(config.variability)},
        "ese": {"ese": of(config.ese)},
        "backups": {"backups": config.registry.backups},
    }
