"""The targets: what there is to make was found when the Snakefile was read (contimg.night); `all` is in the Snakefile."""


rule convert:
    input:
        NIGHT.science_sets(),


rule calibrate:
    input:
        NIGHT.needed_cal_dirs(),


rule apply:
    input:
        NIGHT.calibrated_sets(),


rule image:
    input:
        NIGHT.up_to_images(),


rule beam:
    input:
        NIGHT.up_to_images(),
        NIGHT.beams(),


rule mosaic:
    input:
        NIGHT.up_to_mosaics(),


rule qa:
    input:
        NIGHT.up_to_qa(),


rule photometry:
    input:
        NIGHT.up_to_photometry(),


rule ese:
    input:
        NIGHT.up_to_lightcurves(),
        [names.ESE_CANDIDATES] if NIGHT.measured else [],


rule publish:
    input:
        NIGHT.up_to_publication(),


rule registry:
    input:
        "state/products.sqlite3",
        "state/cal_registry.sqlite3",
