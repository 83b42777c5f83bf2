"""Bodies of requests. Every `POST /api/batch/{kind}` takes two forms, told apart by `job_type`.

The guide's form is `{"ms_paths": […], "parameters": {…}}`; the server's wraps it, `{"job_type": KIND, "params": {…}}`.
Parameters that have no meaning in this pipeline are accepted and named as ignored in the answer (`IGNORED`).
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AliasChoices, Discriminator, Field, Tag, model_validator

from contimg.api.base import MOST_ITEMS, Number, Request, Text, Texts

_PARAMETERS = AliasChoices("parameters", "params")

IGNORED: dict[str, dict[str, str]] = {
    "convert": {
        "writer": "there is one writer of Measurement Sets",
    },
    "calibrate": {
        "auto_fields": "the calibrator's transit is found from the catalogue",
        "manual_fields": "a drift scan has one field; `field` names the calibrator",
        "cal_catalog": "the catalogue is the configuration's (`calibrators`)",
    },
    "image": {
        "gridder": "the w term is always treated",
        "wprojplanes": "the gridder chooses its planes by accuracy",
        "datacolumn": "the calibrated data are imaged",
        "skip_fits": "images are FITS files",
        "use_nvss_mask": "a tile's search begins with the reference catalogue",
        "mask_radius_arcsec": "CLEAN's mask is found in the image",
    },
    "photometry": {
        "box_size_pix": "fluxes are forced fits of the beam; the noise has a map",
        "annulus_pix": "the background is taken from the noise map's box",
        "use_aegean": "fluxes are forced fits of the beam",
    },
    "ese-detect": {
        "use_parallel": "the search is one job over one table",
        "use_composite_scoring": "every measure is in the candidates' table",
        "scoring_weights": "every measure is in the candidates' table",
        "use_multi_frequency": "the bands are compared wherever they are measured",
    },
    "publish": {
        "products_base": "publications lie in the products tree",
    },
}  # fmt: skip
"""By kind: parameters that are accepted, have no meaning here, and why."""


class TimeWindow(Request):
    """A range of UTC times; the end is exclusive."""

    start_time: Text
    end_time: Text


class ConvertParameters(Request):
    """How raw files are converted."""

    writer: Text | None = None
    stage_to_tmpfs: bool | None = None
    max_workers: Annotated[int, Field(ge=1, le=1024)] | None = None


class ConvertBody(Request):
    """Raw files to Measurement Sets: windows of time, one range, or the time round a transit."""

    time_windows: Annotated[list[TimeWindow], Field(max_length=MOST_ITEMS)] = []
    start: Text | None = None
    end: Text | None = None
    calibrator: Text | None = None
    transit_date: Text | None = None
    window_minutes: Number | None = None
    parameters: ConvertParameters = Field(default_factory=ConvertParameters, validation_alias=_PARAMETERS)


class _Sets(Request):
    """Bodies that name Measurement Sets; `ms_path` is a list of one."""

    ms_paths: Texts

    @model_validator(mode="before")
    @classmethod
    def _one(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("ms_path"), str) and "ms_paths" not in data:
            rest = {key: value for key, value in data.items() if key != "ms_path"}
            return rest | {"ms_paths": [data["ms_path"]]}
        return data


class CalibrateParameters(Request):
    """How transits are solved."""

    field: Text | None = None
    refant: Text | int | None = None
    solve_delay: bool | None = None
    solve_bandpass: bool | None = None
    solve_gains: bool | None = None
    delay_solint: Text | Number | None = None
    bandpass_solint: Text | Number | None = None
    gain_solint: Text | Number | None = None
    gain_calmode: Literal["ap", "p"] | None = None
    auto_fields: bool | None = None
    manual_fields: Annotated[list[int], Field(max_length=MOST_ITEMS)] | None = None
    cal_catalog: Text | None = None
    search_radius_deg: Number | None = None
    min_pb: Number | None = None
    do_flagging: bool | None = None
    use_existing_tables: Literal["auto", "manual", "none"] | None = None
    existing_k_table: Text | None = None
    existing_bp_table: Text | None = None
    existing_g_table: Text | None = None


class CalibrateBody(_Sets):
    """Caltables of the transits that calibrate tiles."""

    parameters: CalibrateParameters = Field(default_factory=CalibrateParameters, validation_alias=_PARAMETERS)


class ApplyParameters(Request):
    """Tables that are applied may stand here too."""

    gaintables: Texts | None = Field(None, validation_alias=AliasChoices("gaintables", "caltable_paths"))


class ApplyBody(_Sets):
    """Calibrated Measurement Sets of tiles."""

    caltable_paths: Texts = Field([], validation_alias=AliasChoices("caltable_paths", "gaintables"))
    parameters: ApplyParameters = Field(default_factory=ApplyParameters, validation_alias=_PARAMETERS)


class ImageParameters(Request):
    """How tiles are imaged."""

    imsize: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    cell_arcsec: Number | None = None
    niter: Annotated[int, Field(ge=0, le=10**9)] | None = None
    robust: Number | None = None
    quality_tier: Text | None = None
    backend: Text | None = None
    gridder: Text | None = None
    wprojplanes: int | None = None
    datacolumn: Text | None = None
    skip_fits: bool | None = None
    use_nvss_mask: bool | None = None
    mask_radius_arcsec: Number | None = None


class ImageBody(_Sets):
    """Images of tiles."""

    parameters: ImageParameters = Field(default_factory=ImageParameters, validation_alias=_PARAMETERS)


class MosaicParameters(Request):
    """How tiles are put together."""

    method: Literal["weighted", "mean"] | None = None


class MosaicBody(Request):
    """One mosaic: of a range under a name, or round a calibrator's transit."""

    name: Text | None = None
    start: Text | None = Field(None, validation_alias=AliasChoices("start", "start_time"))
    end: Text | None = Field(None, validation_alias=AliasChoices("end", "end_time"))
    since: Number | None = None
    until: Number | None = None
    method: Literal["weighted", "mean"] | None = None
    calibrator_name: Text | None = None
    timespan_minutes: Number | None = None
    wait_for_published: bool = False
    parameters: MosaicParameters = Field(default_factory=MosaicParameters, validation_alias=_PARAMETERS)


class Coordinate(Request):
    """A position, ICRS, degrees."""

    ra_deg: Annotated[float, Field(ge=0, lt=360)]
    dec_deg: Annotated[float, Field(ge=-90, le=90)]


class PhotometryParameters(Request):
    """How fluxes are measured: in further places, and brought to one scale."""

    normalize: bool | None = None
    coordinates: Annotated[list[Coordinate], Field(max_length=MOST_ITEMS)] = []
    box_size_pix: int | None = None
    annulus_pix: Annotated[list[Number], Field(max_length=MOST_ITEMS)] | Number | None = None
    use_aegean: bool | None = None


class PhotometryBody(PhotometryParameters):
    """Forced photometry of mosaics."""

    mosaics: Texts = []
    fits_paths: Texts = []
    parameters: PhotometryParameters = Field(
        default_factory=PhotometryParameters, validation_alias=_PARAMETERS
    )


class EseParameters(Request):
    """How light curves are searched for extreme scattering events."""

    min_sigma: Number | None = None
    preset: Literal["conservative", "moderate", "sensitive"] | None = None
    recompute: bool = False
    source_ids: Texts | None = None
    use_parallel: bool | None = None
    use_composite_scoring: bool | None = None
    scoring_weights: dict[Text, Number] | None = None
    use_multi_frequency: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) == 1:
            (name,) = data
            if name in ("params", "parameters") and isinstance(data[name], dict):
                return data[name]
        return data


class PublishBody(Request):
    """Mosaics that are to be published."""

    data_ids: Texts
    products_base: Text | None = None


B = TypeVar("B", bound=Request)


class Wrapped(Request, Generic[B]):
    """The server's form: the kind in the body, the rest under `params`."""

    job_type: Text
    params: B


def _form(value: Any) -> str:
    wrapped = "job_type" in value if isinstance(value, dict) else isinstance(value, Wrapped)
    return "server" if wrapped else "guide"


_BY_FORM = Discriminator(_form)
ConvertRequest = Annotated[
    Annotated[ConvertBody, Tag("guide")] | Annotated[Wrapped[ConvertBody], Tag("server")], _BY_FORM
]
CalibrateRequest = Annotated[
    Annotated[CalibrateBody, Tag("guide")] | Annotated[Wrapped[CalibrateBody], Tag("server")], _BY_FORM
]
ApplyRequest = Annotated[
    Annotated[ApplyBody, Tag("guide")] | Annotated[Wrapped[ApplyBody], Tag("server")], _BY_FORM
]
ImageRequest = Annotated[
    Annotated[ImageBody, Tag("guide")] | Annotated[Wrapped[ImageBody], Tag("server")], _BY_FORM
]
MosaicRequest = Annotated[
    Annotated[MosaicBody, Tag("guide")] | Annotated[Wrapped[MosaicBody], Tag("server")], _BY_FORM
]
PhotometryRequest = Annotated[
    Annotated[PhotometryBody, Tag("guide")] | Annotated[Wrapped[PhotometryBody], Tag("server")], _BY_FORM
]
EseRequest = Annotated[
    Annotated[EseParameters, Tag("guide")] | Annotated[Wrapped[EseParameters], Tag("server")], _BY_FORM
]
PublishRequest = Annotated[
    Annotated[PublishBody, Tag("guide")] | Annotated[Wrapped[PublishBody], Tag("server")], _BY_FORM
]


class MosaicCreate(Request):
    """Body of `POST /api/mosaics/create`."""

    calibrator_name: Text | None = None
    start_time: Text | None = None
    end_time: Text | None = None
    timespan_minutes: Number | None = None
    wait_for_published: bool = True


class SessionRequest(Request):
    """Body of `POST /api/session`: a token, for a cookie in its place."""

    token: Text
