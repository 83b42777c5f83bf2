"""Another setting tried on one image of a night: made beside it, of the night's own sets and caltables."""

from astropy.io import fits

from contimg.cli.main import main
from contimg.core.products import read_json


def contents(tree):
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in tree.rglob("*")}


def test_an_image_with_another_weighting_is_made_and_the_night_stays(night, tmp_path, capfd):
    product = night.directories("images")[0]
    before = contents(night.products)
    setting = "imaging={quality_tier: development, imsize: 768, robust: 2, niter: 500, keep: [psf]}"
    command = ["try", str(product), "--set", setting, "--into", str(tmp_path / "try"), "--cores", "2"]
    raw = contents(night.incoming)
    assert main([*command, "-n"]) == 0
    assert "image_tile" in capfd.readouterr().err
    assert contents(night.incoming) == raw
    assert not (tmp_path / "try").exists()
    assert main(command) == 0
    said = capfd.readouterr()
    made = tmp_path / "try" / product.relative_to(night.products)
    assert said.out.strip() == str(made)
    assert f"contimg compare {product} {made}" in said.err
    assert contents(night.products) == before
    old, new = (read_json(path / "status.json") for path in (product, made))
    assert new["caltables"] == old["caltables"]  # the same paths, by links
    assert (tmp_path / "try" / new["inputs"][0]).readlink() == night.products / new["inputs"][0]
    # natural weights: the least noise and the larger beam
    assert new["metrics"]["beam_major_arcsec"] > old["metrics"]["beam_major_arcsec"]
    assert new["metrics"]["noise_over_natural"] < 1.001 < old["metrics"]["noise_over_natural"]
    assert abs(fits.getdata(made / f"{made.name}.psf.fits").max() - 1) < 1e-3
