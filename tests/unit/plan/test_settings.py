"""What is made again when a setting changes: the rules whose products depend on it, and no others."""

import pytest

from contimg.config.model import Config
from contimg.core.rules import RULES
from contimg.plan.settings import _parts, settings

CONFIG = Config()
IMAGES = {"image_tile", "inject_tile"}
AVERAGED = {"apply_tile", "beam_tile"}


@pytest.mark.parametrize(
    ("section", "values", "rules"),
    [
        ("imaging", {"keep": ["residual"]}, IMAGES),
        ("imaging", {"robust": -0.5}, IMAGES | AVERAGED),
        ("imaging", {"quality_tier": "development"}, IMAGES | AVERAGED),
        ("flagging", {"aoflagger": False}, {"convert_tile", "calibrate_transit"}),
        ("calibration", {"refant": "103"}, {"calibrate_transit"}),
        ("calibration", {"valid_hours": 1.0}, set()),  # which caltables there are is among the inputs
        ("beam", {"diameter_m": 4.7}, IMAGES | AVERAGED | {"calibrate_transit", "beam_measure"}),
        ("mosaic", {"pb_limit": 0.3}, {"mosaic_window", "mosaic_transit"}),
        ("registry", {"backups": 2}, {"build_registry"}),
        ("retention", {"archive": "/elsewhere"}, set()),
    ],
)
def test_a_setting_makes_again_what_depends_on_it(section, values, rules):
    before = settings(CONFIG)
    of = getattr(CONFIG, section)
    after = settings(CONFIG.model_copy(update={section: type(of).model_validate({**dict(of), **values})}))
    assert {rule for rule in after if after[rule] != before[rule]} == rules


def test_every_part_is_of_a_rule_and_no_parameter_of_two_parts():
    parts = _parts(CONFIG)
    assert {part for rule in RULES for part in rule.settings} == parts.keys()
    for rule in RULES:
        names = [name for part in rule.settings for name in parts[part]]
        assert len(names) == len(set(names)), rule.name
