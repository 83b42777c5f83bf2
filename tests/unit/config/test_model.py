"""The configuration: every spelling becomes one form, every mistake one readable line."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import pytest
import yaml

from contimg.calibrate.options import CalibrationOptions
from contimg.config import docs
from contimg.config.load import load
from contimg.config.model import Config
from contimg.config.notify import NotifyOptions
from contimg.config.retention import RegistryOptions, RetentionOptions
from contimg.config.service import ServiceOptions
from contimg.config.slurm import SlurmOptions
from contimg.convert.options import FlaggingOptions
from contimg.core.errors import ConfigError
from contimg.core.messages import keys
from contimg.core.provenance import REPOSITORY
from contimg.image.options import ImagingOptions, load_tiers, resolve_imaging
from contimg.index.options import RawOptions
from contimg.mosaic.options import MosaicOptions
from contimg.photometry.options import PhotometryOptions
from contimg.qa.options import QaOptions
from contimg.sky.options import CatalogOptions
from contimg.telescope.options import BeamOptions
from contimg.variability.ese_options import EseOptions
from contimg.variability.options import VariabilityOptions

SECTIONS = (
    RawOptions,
    SlurmOptions,
    BeamOptions,
    CalibrationOptions,
    CatalogOptions,
    FlaggingOptions,
    ImagingOptions,
    MosaicOptions,
    NotifyOptions,
    PhotometryOptions,
    QaOptions,
    RegistryOptions,
    RetentionOptions,
    ServiceOptions,
    EseOptions,
    VariabilityOptions,
)
CALIBRATORS = "name,ra_deg,dec_deg,flux_jy,spectral_index,origin\n" + "\n".join(
    f"{name},{ra},{dec},10,-0.5,test"
    for name, ra, dec in (
        ("3C286", 202.784533, 30.509155),
        ("3C295", 212.8355, 52.2026),
        ("0834+555", 128.7, 55.57),
    )
)


def read(mapping):
    """Load without looking at the disk."""
    return load(mapping, check=False)


def refusal(mapping, **where):
    """Give the message of a refused configuration; it must be one line."""
    with pytest.raises(ConfigError) as error:
        load(mapping, **(where or {"check": False}))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def here(tmp_path):
    """A directory with what the defaults name."""
    (tmp_path / "incoming").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "calibrators.csv").write_text(CALIBRATORS)
    return tmp_path


# --- values of every spelling -------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "2025-10-30",
        " 2025-10-30 ",
        "2025-10-30T00:00",
        "2025-10-30 00:00:00",
        "2025-10-30T00:00:00Z",
        "2025-10-30t00:00:00.000z",
        "2025-10-30 00:00 UTC",
        "2025-10-30T02:00+02:00",
        date(2025, 10, 30),
        datetime(2025, 10, 30),  # noqa: DTZ001 (as YAML gives it)
        datetime(2025, 10, 30, tzinfo=UTC),
        datetime(2025, 10, 29, 17, tzinfo=timezone(timedelta(hours=-7))),
    ],
)
def test_a_time_in_any_spelling_is_the_same_instant(written):
    config = read({"start": written})
    assert config.start == "2025-10-30T00:00:00"
    # MJD 60978 began at 2025-10-30 00:00 UTC: MJD 51544 began 2000-01-01, and 9434 days lie between.
    assert config.start_mjd == 60978.0


def test_mjd_is_exact_to_the_microsecond():
    config = read({"start": "2025-10-30T13:05:09.250001", "end": "2025-10-30T18:00:00"})
    seconds = 13 * 3600 + 5 * 60 + 9.250001
    # a double holds an MJD to 2^-37 d = 0.6 µs
    assert (config.start_mjd - 60978.0) * 86400 == pytest.approx(seconds, abs=1e-6)
    assert config.end_mjd == 60978.75


def test_yaml_and_the_command_line_say_the_same():
    from_yaml = yaml.safe_load(
        """
        start: 2025-10-30
        end: 2025-10-31 12:00:00
        min_subbands: 14
        exclude: [2025-10-30T13:00:00, 2025-10-30T13:05:09]
        imaging: {robust: 0, niter: 100, imsize: auto}
        flagging: {aoflagger: false, flag_antennas: [21, 103], rfi_bands_mhz: [[1349, 1351], [1404, 1406.5]]}
        """
    )
    from_strings = {
        "start": "2025-10-30",
        "end": "2025-10-31T12:00Z",
        "min_subbands": "14",
        "exclude": "2025-10-30T13:00:00,2025-10-30T13:05:09",
        "imaging": {"robust": "0", "niter": "100", "imsize": "auto"},
        "flagging": {
            "aoflagger": "False",
            "flag_antennas": "21, 103",
            "rfi_bands_mhz": "1349-1351,1404-1406.5",
        },
    }
    config = read(from_yaml)
    assert config == read(from_strings)
    assert config.exclude == ("2025-10-30T13:00:00", "2025-10-30T13:05:09")
    assert config.imaging.robust == 0.0
    assert config.imaging.niter == 100
    assert config.flagging.aoflagger is False
    assert config.flagging.flag_antennas == ("21", "103")
    assert config.flagging.rfi_bands_mhz == ((1349.0, 1351.0), (1404.0, 1406.5))


@pytest.mark.parametrize("nothing", [None, "", "null", "None", "none", "~", " "])
def test_no_value_in_any_spelling_is_none(nothing):
    keys_that_may_be_empty = (
        "start",
        "end",
        "calibrator",
        "transit_date",
        "window_minutes",
        "scratch",
        "catalog",
    )
    config = read(dict.fromkeys((*keys_that_may_be_empty, "mosaic_name", "exclude", "imaging"), nothing))
    assert config == Config()


def test_one_value_is_a_list_of_one():
    config = read({"exclude": datetime(2025, 10, 30, 13), "flagging": {"flag_antennas": 103}})  # noqa: DTZ001
    assert config.exclude == ("2025-10-30T13:00:00",)
    assert config.flagging.flag_antennas == ("103",)


def test_numbers_are_names_and_paths_where_names_and_paths_are_expected():
    config = read({"incoming": 20251030, "mosaic_name": 2025, "calibration": {"refant": 103}})
    assert (config.incoming, config.mosaic_name, config.calibration.refant) == (
        Path("20251030"),
        "2025",
        "103",
    )


def test_a_transit_is_a_name_a_date_and_a_width():
    config = read({"calibrator": "3C286", "transit_date": date(2025, 10, 30), "window_minutes": "60"})
    assert (config.transit_date, config.window_minutes) == ("2025-10-30", 60.0)


def test_an_open_range_has_no_bounds():
    assert (Config().start_mjd, Config().end_mjd) == (None, None)


def test_options_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().min_subbands = 3
    with pytest.raises(ValueError, match="frozen"):
        ImagingOptions().niter = 3


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_travels_as_json_and_comes_back(section):
    assert section.model_validate(json.loads(json.dumps(section().model_dump(mode="json")))) == section()


def test_a_configuration_travels_as_json_and_comes_back():
    config = read(
        {
            "start": "2025-10-30T13:00:01.5",
            "transit_date": "2025-10-30",
            "calibrator": "3C286",
            "scratch": "/fast",
            "exclude": "2025-10-30T13:00:00",
            "imaging": {"robust": -0.5, "imsize": 4800},
            "flagging": {"rfi_bands_mhz": [[1, 2]], "strategy": "a.lua", "flag_antennas": "21"},
        }
    )
    assert Config.model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config


# --- what is wrong is said in one line ----------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"strat": "2025-10-30"}, "strat: no such key (found '2025-10-30'); did you mean start?"),
        ({"imagng": {}}, "imagng: no such key (found {}); did you mean imaging?"),
        ({"imaging": {"robst": 1}}, "imaging.robst: no such key (found 1); did you mean imaging.robust?"),
        (
            {"robust": 0},
            "robust: no such key (found 0); did you mean imaging.robust? On the command line: imaging='{robust: …}'",
        ),
        (
            {"imaging.robust": 0},
            "imaging.robust: no such key (found 0); did you mean imaging.robust? On the command line: "
            "imaging='{robust: …}'",
        ),
        (
            {"imaging": {"exclude": []}},
            "imaging.exclude: no such key (found []); did you mean exclude at the top?",
        ),
        (
            {"imaging": {"robust:0": None}},
            "imaging.robust:0: no such key; write a blank after the colon, 'robust: 0'",
        ),
        ({"beam": {"zzzz": 1}}, "beam.zzzz: no such key (found 1); the keys are model, diameter_m, file"),
        ({"imaging": 5}, "imaging: found 5; write keys and values below it, such as {backend: …}"),
        ([1], "found [1]; write keys and values below it, such as {incoming: …}"),
        ({"min_subbands": 17}, "min_subbands: found 17; write a whole number from 1 to 16 [subbands]"),
        (
            {"min_subbands": "many"},
            "min_subbands: found 'many'; write a whole number from 1 to 16 [subbands]",
        ),
        ({"min_subbands": 2.5}, "min_subbands: found 2.5; write a whole number from 1 to 16 [subbands]"),
        ({"min_subbands": ""}, "min_subbands: found nothing; write a whole number from 1 to 16 [subbands]"),
        (
            {"imaging": {"niter": True}},
            "imaging.niter: found True (a number is expected); write auto or a whole number at least 0",
        ),
        (
            {"imaging": {"robust": "high"}},
            "imaging.robust: found 'high'; write auto or a number from -2 to 2",
        ),
        ({"imaging": {"robust": 7}}, "imaging.robust: found 7; write auto or a number from -2 to 2"),
        ({"imaging": {"robust": "nan"}}, "imaging.robust: found 'nan'; write auto or a number from -2 to 2"),
        (
            {"imaging": {"backend": "aips"}},
            "imaging.backend: found 'aips'; write auto, ducc0, wsclean or tclean",
        ),
        (
            {"imaging": {"pb_limit": 0}},
            "imaging.pb_limit: found 0; write a number above 0 and below 1 [of peak]",
        ),
        ({"flagging": {"aoflagger": "maybe"}}, "flagging.aoflagger: found 'maybe'; write true or false"),
        (
            {"flagging": {"rfi_bands_mhz": [[1351, 1349]]}},
            "flagging.rfi_bands_mhz: found [1351, 1349] (the first frequency must be below the second); write bands "
            "such as [[1349, 1351], [1404, 1406]]",
        ),
        (
            {"flagging": {"rfi_bands_mhz": "1350"}},
            "flagging.rfi_bands_mhz: found '1350' (not a band of two frequencies); write bands such as [[1349, 1351], "
            "[1404, 1406]]",
        ),
        (
            {"start": "2025-13-01"},
            "start: found '2025-13-01' (month must be in 1..12); write a UTC date or time such as 2025-10-28 or "
            "2025-10-28T13:30:00, or null",
        ),
        (
            {"start": 20251030},
            "start: found 20251030 (not a UTC date or time); write a UTC date or time such as 2025-10-28 or "
            "2025-10-28T13:30:00, or null",
        ),
        (
            {"start": "2025-10-31", "end": "2025-10-30"},
            "end: found 2025-10-30T00:00:00, which is not after start, 2025-10-31T00:00:00; write a later time (end "
            "is exclusive: the day after the last one)",
        ),
        (
            {"start": "2025-10-30", "end": "2025-10-30"},
            "end: found 2025-10-30T00:00:00, which is not after start, 2025-10-30T00:00:00; write a later time (end "
            "is exclusive: the day after the last one)",
        ),
        (
            {"calibrator": "3C286"},
            "transit_date: found nothing beside calibrator=3C286; write the UTC date of its transit, such as "
            "2025-10-30",
        ),
        (
            {"transit_date": "2025-10-30"},
            "calibrator: found nothing beside transit_date=2025-10-30; write the calibrator whose transit is meant, "
            "or leave transit_date out",
        ),
        (
            {"window_minutes": 60},
            "calibrator: found nothing beside window_minutes=60.0; write the calibrator whose transit is meant, or "
            "leave window_minutes out",
        ),
        (
            {"calibrator": "3C286", "transit_date": "2025-10-30T05:00"},
            "transit_date: found '2025-10-30T05:00' (a date without a time of day is expected); write a UTC date such "
            "as 2025-10-30, or null",
        ),
        (
            {"calibrator": "3C286", "transit_date": "2025-10-30", "mosaic_name": "deep"},
            "mosaic_name: found deep beside calibrator=3C286, whose mosaic is named by its transit; leave one of the "
            "two out",
        ),
        (
            {"exclude": "2025-10-30"},
            "exclude: found '2025-10-30' (not the name of a tile); write tile names such as [2025-10-30T13:00:00, "
            "2025-10-30T13:05:09]",
        ),
        (
            {"mosaic_name": "a/b"},
            "mosaic_name: found 'a/b' (not a file name of letters, digits and . _ + - that begins with a letter or "
            "digit); write a file name such as cygnus_2025, or null",
        ),
        (
            {"mosaic_name": "0830+55"},
            "mosaic_name: found '0830+55' (that is the form of a sidereal window's name); write a file name such as "
            "cygnus_2025, or null",
        ),
        ({"incoming": None}, "incoming: found nothing; write the path of a directory"),
        (
            {"mosaic": {"stride_minutes": 7}},
            "mosaic.stride_minutes: found 7, which does not divide a sidereal day of 1440 minutes; write for example "
            "30",
        ),
        (
            {"imaging": {"auto_mask": 3, "auto_threshold": 5}},
            "imaging.auto_threshold: found 5, above imaging.auto_mask, 3; write a smaller one",
        ),
        (
            {"imaging": {"niter": -1, "mgain": 2}, "min_subbands": 0},
            "min_subbands: found 0; write a whole number from 1 to 16 [subbands] (wrong too: imaging.niter, "
            "imaging.mgain)",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_told_with_its_key_what_was_found_and_what_to_write(mapping, message):
    assert refusal(mapping) == message


def test_a_long_or_many_lined_value_is_shown_short_on_one_line():
    message = refusal({"start": "first line\n" + 200 * "x"})
    assert message.startswith("start: found 'first line\\nxxx")
    assert len(message) < 220


# --- what the disk holds ------------------------------------------------------------------------


def test_what_is_there_is_accepted_and_paths_stay_as_written(here):
    config = load({"start": "2025-10-30"}, base=here)
    assert (config.incoming, config.products) == (Path("incoming"), Path("products"))


def test_relative_paths_start_from_the_working_directory(here, monkeypatch):
    monkeypatch.chdir(here)
    assert load({}).resolved(Path.cwd()).incoming == here / "incoming"


def test_resolved_paths_are_absolute_below_the_base(here, monkeypatch):
    monkeypatch.setenv("FAST_DISK", "/fast")
    monkeypatch.setenv("HOME", "/astronomer")
    written = {
        "incoming": "../raw",
        "products": "/data/products",
        "scratch": "$FAST_DISK/scratch",
        "catalog": "~/nvss.fits",
        "flagging": {"strategy": "mine.lua"},
    }
    config = read(written).resolved(here)
    assert config.incoming == here.parent / "raw"
    assert config.products == Path("/data/products")
    assert config.scratch == Path("/fast/scratch")
    assert config.catalog == Path("/astronomer/nvss.fits")
    assert config.flagging.strategy == here / "mine.lua"
    assert config.calibrators == here / "config" / "calibrators.csv"
    assert config.resolved(Path("/elsewhere")) == config


def test_the_shipped_catalogue_serves_where_the_run_has_none(tmp_path):
    assert Config().resolved(tmp_path).calibrators == REPOSITORY / "config" / "calibrators.csv"
    assert read({"calibrators": "mine.csv"}).resolved(tmp_path).calibrators == tmp_path / "mine.csv"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"incoming": "raw"},
            "incoming: found {here}/raw, which is not there; write the directory that holds the raw files",
        ),
        (
            {"incoming": "config/calibrators.csv"},
            "incoming: found {here}/config/calibrators.csv, which is not a directory; write the directory that holds "
            "the raw files",
        ),
        (
            {"products": "incoming/products"},
            "products: found {here}/incoming/products, inside incoming, which is searched for raw files; write a "
            "directory outside it",
        ),
        (
            {"products": "config/calibrators.csv"},
            "products: found {here}/config/calibrators.csv, which is not a directory; write a directory",
        ),
        (
            {"scratch": "fast"},
            "scratch: found {here}/fast, which is not there; write a directory of this machine, or null",
        ),
        (
            {"calibrators": "mine.csv"},
            "calibrators: found {here}/mine.csv, which is not there; write the path of a CSV file",
        ),
        (
            {"catalog": "config"},
            "catalog: found {here}/config, which is a directory; write the path of a file, or null",
        ),
        (
            {"photometry": {"sources": "mine.csv"}},
            "photometry.sources: found {here}/mine.csv, which is not there; write the path of a file, or null",
        ),
        (
            {"flagging": {"strategy": "mine.lua"}},
            "flagging.strategy: found {here}/mine.lua, which is not there; write the path of a file, or null",
        ),
        (
            {"calibrator": "3C268", "transit_date": "2025-10-30"},
            "calibrator: found '3C268', which is not in {here}/config/calibrators.csv; did you mean 3C286 or 3C295?",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_there_is_told(here, mapping, message):
    assert refusal(mapping, base=here) == message.format(here=here)


def test_a_calibrator_that_resembles_none_is_told_with_all_there_are(here):
    message = refusal({"calibrator": "Jupiter", "transit_date": "2025-10-30"}, base=here)
    assert message.startswith("calibrator: ")
    assert "'Jupiter'" in message
    assert "0834+555, 3C286, 3C295" in message


def test_an_own_list_of_sources_is_read_before_the_run(here):
    (here / "mine.csv").write_text("name,ra\na,1\n")
    message = refusal({"photometry": {"sources": "mine.csv"}}, base=here)
    assert message.startswith(
        f"photometry.sources: {here}/mine.csv: no column ra_deg or dec_deg among name, ra"
    )


def test_a_catalogue_that_cannot_be_read_names_its_key(here):
    (here / "config" / "calibrators.csv").write_text("source,ra\n3C286,202\n")
    message = refusal({"calibrator": "3C286", "transit_date": "2025-10-30"}, base=here)
    assert message.startswith(f"calibrators: {here}/config/calibrators.csv")


@pytest.mark.parametrize("written", ["3C286", "3c286", "3c 286", "1331+305"])
def test_a_calibrator_gets_the_name_of_the_catalogue(here, written):
    config = load({"calibrator": written, "transit_date": "2025-10-30"}, base=here)
    assert config.calibrator == "3C286"


# --- quality tiers ------------------------------------------------------------------------------


def test_a_tier_fills_what_is_left_on_auto_and_an_explicit_value_wins():
    tiers = load_tiers()
    options = ImagingOptions(quality_tier="development", niter=77)
    resolved = resolve_imaging(options, tiers)
    assert resolved.niter == 77
    assert resolved.robust == tiers["development"].robust
    assert resolved.auto_mask == tiers["development"].auto_mask
    assert (resolved.imsize, resolved.cell_arcsec) == ("auto", "auto")
    assert resolve_imaging(resolved, tiers) == resolved


def test_the_shipped_tiers_leave_only_size_and_cell_open():
    tiers = load_tiers()
    for tier in ("development", "standard", "high_precision"):
        filled = resolve_imaging(ImagingOptions(quality_tier=tier), tiers).model_dump()
        assert {name for name, value in filled.items() if value == "auto"} == {
            "backend",
            "outside",
            "selfcal",
            "place",
            "multiscale",
            "imsize",
            "cell_arcsec",
        }
    assert tiers["development"].niter < tiers["standard"].niter < tiers["high_precision"].niter


def test_an_explicit_value_that_contradicts_the_tier_is_told():
    with pytest.raises(
        ConfigError, match=r"imaging\.auto_threshold: found 1, above imaging\.auto_mask, 0\.5"
    ):
        resolve_imaging(ImagingOptions(auto_mask=0.5), load_tiers())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("  robust: 9.0\n", "standard.robust: found 9.0; write a number from -2 to 2"),
        ("  nitre: 5\n", "standard.nitre: no such key (found 5); did you mean standard.niter?"),
        ("", "standard.robust: missing; write a number from -2 to 2"),
    ],
)
def test_a_wrong_tier_is_told_with_its_file(tmp_path, change, message):
    text = (REPOSITORY / "config" / "quality_tiers.yaml").read_text()
    path = tmp_path / "tiers.yaml"
    head, tail = text.split("standard:\n", 1)
    tail = tail if "nitre" in change else tail.replace("  robust: 0.0\n", "", 1)
    path.write_text(f"{head}standard:\n{change}{tail}")
    with pytest.raises(ConfigError) as error:
        load_tiers(path)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read"), ("a: [1", "not YAML: "), ("standard:\n", "development: missing")],
)
def test_a_tier_file_that_cannot_be_used_is_told(tmp_path, text, message):
    path = tmp_path / "tiers.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_tiers(path)
    assert str(error.value).startswith(f"{path}: {message}")


# --- the files written from the model -----------------------------------------------------------


@pytest.mark.parametrize("name", docs.RENDERED)
def test_a_committed_file_is_as_the_model_renders_it(name):
    rendered = docs.RENDERED[name]()
    assert (REPOSITORY / name).read_text(encoding="utf-8") == rendered, "run `contimg config --write`"


def test_the_rendered_yaml_holds_every_key_at_its_default():
    written = yaml.safe_load(docs.config_yaml())
    assert read(written) == Config()
    for path in keys(Config):
        value = written
        for name in path:
            value = value[name]  # KeyError: a key that the file lacks


def test_the_rendered_yaml_passes_the_rendered_schema_and_a_wrong_one_does_not():
    schema = json.loads(docs.config_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = yaml.safe_load(docs.config_yaml())
    good["flagging"]["flag_antennas"] = [21, "103"]
    assert not list(validator.iter_errors(good))
    for section, name, value in (
        ("imaging", "robust", 7),
        ("imaging", "robst", 0),
        ("mosaic", "min_tiles", "x"),
    ):
        assert list(validator.iter_errors(good | {section: good[section] | {name: value}}))


def test_every_key_says_what_it_means_and_shows_an_example_that_is_valid():
    for path in keys(Config):
        owner = Config
        for name in path[:-1]:
            owner = owner.model_fields[name].annotation
        field = owner.model_fields[path[-1]]
        if field.annotation in SECTIONS:
            continue
        assert len(field.description) > 10
        assert field.description.endswith((".", ")."))
        (example,) = field.examples
        needed = {"calibrator": "3C286", "transit_date": "2025-10-30"} if path[-1] in NEED_A_TRANSIT else {}
        nested = {path[-1]: example}
        for name in reversed(path[:-1]):
            nested = {name: nested}
        read(needed | nested)


NEED_A_TRANSIT = ("calibrator", "transit_date", "window_minutes")


def test_the_page_has_a_row_for_every_key():
    page = docs.configuration_page()
    for path in keys(Config):
        assert f"`{path[-1]}`" in page or f"`{path[-1]}:`" in page


def test_only_what_is_stale_is_written(tmp_path):
    assert len(docs.write(tmp_path)) == len(docs.RENDERED)
    assert docs.write(tmp_path) == []
    (tmp_path / "config" / "config.yaml").write_text("start: 2025-10-30\n")
    assert docs.write(tmp_path) == [tmp_path / "config" / "config.yaml"]
    assert docs.stale(tmp_path) == {}


@pytest.mark.parametrize("said", ["none", None, "None"])
def test_no_sky_model_can_be_chosen_though_none_means_nothing_elsewhere(said):
    assert Config.model_validate({"imaging": {"sky_model": said}}).imaging.sky_model == "none"
