import fcntl
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pandas as pd
import pytest

from contimg.cli.main import main
from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.products import status, write_json
from contimg.photometry import positions
from contimg.qa import verdict as qa
from contimg.registry.build import CALTABLES, PRODUCTS, numbers
from contimg.registry.files import (
    as_rebuilt,
    backup,
    backups,
    open_readonly,
    problems,
    rebuild,
    restore,
    same_content,
)
from contimg.registry.sidecars import read_tree, state_of_others

DAY = "2025-10-30"
TILES = [f"{DAY}T13:00:00", f"{DAY}T13:05:09", f"{DAY}T13:10:18"]
CAL = names.caltable_dir(TILES[1], "0834+555")
MOSAIC = names.window_dir(DAY, "0830+55")


def converted(tile, dec_deg=55.02):
    start = names.tile_mjd(tile)
    return status(
        inputs=[f"/raw/{tile}_sb{n:02d}.hdf5" for n in range(16)],
        metrics={
            "flag_fraction": 0.1,
            "flag_fraction_by_antenna": {"1": 0.3},
            "phase_centre": {"name": "meridian", "ra_deg": 128.0, "dec_deg": 55.1},
            "pointing": {"dec_deg": dec_deg, "mjd_start": start, "mjd_end": start + 309 / 86400},
        },
    )


def plant(tree, *, rms=(1e-3, 2e-3, 3e-3)):
    """A night of three tiles, the last of which is rejected."""
    for tile, rms_jy in zip(TILES, rms, strict=True):
        write_json(tree / names.science_sidecar(tile), converted(tile))
        rejected = tile == TILES[2]
        image = status(
            "no solution" if rejected else None,
            inputs=[names.science_ms(tile)],
            caltables=[CAL] if rejected else [f"{CAL}/{table}" for table in ("K", "BP", "G")],
            parameters={"borrowed": False},
            metrics={} if rejected else {"rms_jy": rms_jy, "apply": {"flag_fraction": 0.2}},
        )
        write_json(tree / names.image_dir(tile) / "status.json", image)
    ms = f"ms/calibrators/{DAY}/{TILES[1]}_0834+555"
    write_json(tree / f"{ms}.json", converted(TILES[1]))
    solved = {
        "refant": {"name": "103", "reason": "healthy"},
        "phase_scatter_deg": 4.0,
        "antennas": {"1": {"amplitude": 1.1}, "103": {"amplitude": 0.9}},
    }
    write_json(tree / CAL / "status.json", status(inputs=[f"{ms}.ms"], metrics=solved))
    tiles = [
        {"tile": tile, "status": "rejected" if tile == TILES[2] else "ok", "reason": None, "weight": weight}
        for tile, weight in zip(TILES, (0.6, 0.4, 0.0), strict=True)
    ]
    images = [names.image_dir(tile) for tile in TILES]
    write_json(
        tree / MOSAIC / "status.json", status(inputs=images, metrics={"rms_median_jy": 9e-4}, tiles=tiles)
    )
    return tree


def gate(value, high, verdict, advisory=False):
    return qa.Gate("", value, qa.Limits(None, high, "x"), verdict, None, advisory)


def judge(tree):
    """Verdicts on the first tile, which passes but for an advisory gate, and on the mosaic, which fails two."""
    told = {"artefacts": gate(0.2, 0.1, qa.FAIL, True), "rms": gate(1.1, 3.0, qa.PASS)}
    failed = {
        "rms": gate(4.0, 3.0, qa.FAIL),
        "flags": gate(0.8, 0.7, qa.FAIL),
        "beam": gate(None, 6.0, qa.NOT_EVALUATED),
    }
    for product, kind, path, gates in (
        (names.image_dir(TILES[0]), "tile", names.tile_verdict(TILES[0]), told),
        (MOSAIC, "mosaic", names.mosaic_verdict(MOSAIC, "0830+55"), failed),
    ):
        named = [replace(found, name=name, reason="beyond") for name, found in gates.items()]
        write_json(tree / path, qa.record(product, kind, named))


def publish(tree, number, withdrawn=None):
    """A version of the mosaic, by its manifest alone."""
    folder = tree / "published" / DAY / "0830+55"
    manifest = {"product": MOSAIC, "published": f"{DAY}T20:00:0{number}Z", "files": []}
    write_json(folder / f"v{number}" / "manifest.json", manifest)
    if withdrawn:
        write_json(folder / f"v{number}.withdrawn.json", {"reason": withdrawn, "manifest": manifest})


def ask(tree, statement, registry=PRODUCTS):
    with closing(open_readonly(tree / "state" / registry)) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def tree(tmp_path):
    judge(plant(tmp_path))
    publish(tmp_path, 1, withdrawn="gains wrong")
    publish(tmp_path, 2)
    rebuild(tmp_path, keep=3)
    return tmp_path


def test_every_sidecar_is_a_row_and_references_are_resolved(tree):
    assert ask(tree, "SELECT count(*) FROM product") == [(9,)]
    assert ask(tree, "SELECT path FROM rejected") == [(names.image_dir(TILES[2]),)]
    upstream = ask(
        tree,
        "SELECT up.path FROM source JOIN product AS p ON p.id = product_id JOIN product AS up ON up.id = source_id "
        f"WHERE p.path = '{names.image_dir(TILES[0])}' ORDER BY up.path",
    )
    assert [path for (path,) in upstream] == [CAL, names.science_ms(TILES[0])]
    assert ask(tree, "SELECT n_tiles FROM mosaics") == [(2,)]
    weights = ask(tree, "SELECT sum(weight), count(image_id) FROM mosaic_tile")
    assert weights == [(pytest.approx(1.0), 3)]


def test_gates_and_publications_refer_to_their_products(tree):
    found = ask(
        tree,
        "SELECT product.path, gate.name, value, high FROM gate JOIN verdict ON verdict_id = verdict.id "
        "JOIN product ON product_id = product.id WHERE gate.verdict = 'fail' AND NOT advisory ORDER BY gate.name",
    )
    assert found == [(MOSAIC, "flags", 0.8, 0.7), (MOSAIC, "rms", 4.0, 3.0)]
    assert ask(tree, "SELECT count(*) FROM gates") == [(5,)]
    assert ask(tree, "SELECT verdict, reason FROM verdict ORDER BY kind") == [
        ("fail", "beyond; beyond"),
        ("pass", None),
    ]
    versions = ask(
        tree,
        "SELECT version, state, publication.reason FROM publication JOIN product ON product_id = product.id",
    )
    assert versions == [(1, "withdrawn", "gains wrong"), (2, "current", None)]


def test_photometry_and_the_list_of_sources_are_there(tree, capsys):
    measured = {"n_sources": 40, "n_seen": 31, "image_over_visibilities": 0.998}
    write_json(
        tree / f"photometry/{DAY}/0830+55.json",
        status(inputs=[MOSAIC, f"qa/{DAY}/0830+55.json"], metrics=measured),
    )
    write_json(tree / f"photometry/{DAY}/0900+55.json", status("qa: rms 4"))
    places = pd.DataFrame(
        {"name": ["a", "b"], "ra_deg": [128.729, 10.0], "dec_deg": [55.573, 55.5], "flux_jy": 1.0}
    )
    positions.write(tree / names.SOURCE_LIST, positions.assemble(places, None, None, same_arcsec=5))
    assert rebuild(tree, keep=3)["sources"] == 2
    assert ask(tree, "SELECT path, status, n_sources, n_seen, reason FROM photometry ORDER BY path") == [
        (f"photometry/{DAY}/0830+55.parquet", "ok", 40, 31, None),
        (f"photometry/{DAY}/0900+55.parquet", "rejected", None, None, "qa: rms 4"),
    ]
    assert main(["query", "--products", str(tree), "photometry", "--date", DAY]) == 0
    assert "0.998" in capsys.readouterr().out
    # 0.0005 deg of declination, nothing in right ascension: 1.8 arcsec; the other is 68 deg away
    assert main(["query", "--products", str(tree), "--csv", "sources", "--at", "128.729 55.5735"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split(",")[0] == "source_id"
    assert row.split(",")[-1] == "1.8"
    assert row.startswith("J083454.9+553422,")


def test_a_verdict_outlives_its_product(tree):
    shutil.rmtree(tree / MOSAIC)
    rebuild(tree, keep=3)
    assert problems(tree / "state" / PRODUCTS) == []
    assert ask(tree, "SELECT product, product_id FROM verdict WHERE kind = 'mosaic'") == [(MOSAIC, None)]


def test_a_verdict_that_cannot_be_read_is_listed(tree):
    (tree / names.tile_verdict(TILES[0])).write_text("{")
    assert rebuild(tree, keep=3)["verdicts"] == 1
    ((path, _),) = ask(tree, "SELECT * FROM unreadable")
    assert path == names.tile_verdict(TILES[0])


def test_an_image_has_the_place_and_time_of_its_measurement_set(tree):
    ((ra, dec, start),) = ask(tree, f"SELECT ra_deg, dec_deg, mjd_start FROM tiles WHERE tile = '{TILES[0]}'")
    assert (ra, dec) == (128.0, 55.1)
    assert start == pytest.approx(names.tile_mjd(TILES[0]), abs=1e-9)


def test_a_caltable_has_its_strip_its_time_and_its_users(tree):
    ((strip, mjd, users),) = ask(tree, "SELECT strip_deg, mjd, n_products FROM good", CALTABLES)
    assert strip == 55.0
    assert mjd == pytest.approx(names.tile_mjd(TILES[1]) + 154.5 / 86400, abs=1e-9)
    assert users == 2
    assert ask(tree, "SELECT name, amplitude FROM antenna", CALTABLES) == [("1", 1.1), ("103", 0.9)]


def test_two_builds_are_the_same_whatever_order_the_disk_lists(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for path in sorted(tree.rglob("*.json"), reverse=True):
        target = other / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    rebuild(other, keep=3)
    for name in (PRODUCTS, CALTABLES):
        assert same_content(tree / "state" / name, other / "state" / name)
    assert as_rebuilt(tree) == []


def test_a_changed_sidecar_is_seen_and_the_old_registry_becomes_a_backup(tree):
    before = (tree / "state" / PRODUCTS).read_bytes()
    plant(tree, rms=(5e-3, 2e-3, 3e-3))
    assert as_rebuilt(tree) == [PRODUCTS]
    rebuild(tree, keep=3)
    (kept,) = backups(tree / "state" / PRODUCTS)
    assert kept.read_bytes() == before
    assert backups(tree / "state" / CALTABLES) == []  # it did not change
    assert ask(tree, "SELECT max(rms_jy) FROM tiles") == [(5e-3,)]


def test_the_oldest_backups_go(tree):
    for number in range(5):
        plant(tree, rms=(number + 5.0, 1.0, 1.0))
        rebuild(tree, keep=2)
    kept = backups(tree / "state" / PRODUCTS)
    assert len(kept) == 2
    with closing(open_readonly(kept[-1])) as newest:
        assert newest.execute("SELECT max(rms_jy) FROM tiles").fetchone() == (8.0,)


def test_a_reader_of_the_old_registry_is_not_disturbed(tree):
    with closing(sqlite3.connect(tree / "state" / PRODUCTS)) as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        cursor = reader.execute("SELECT path FROM product ORDER BY path")
        first = cursor.fetchone()
        shutil.rmtree(tree / "images")
        rebuild(tree, keep=3)
        assert first is not None
        assert len(cursor.fetchall()) == 8
    assert ask(tree, "SELECT count(*) FROM product") == [(6,)]


def test_a_registry_cannot_be_written_through_its_file_mode(tree):
    assert (tree / "state" / PRODUCTS).stat().st_mode & 0o222 == 0


def test_a_sidecar_that_cannot_be_read_is_listed_and_the_rest_is_there(tree):
    (tree / names.image_dir(TILES[0]) / "status.json").write_text('{"status": "ok"')
    write_json(tree / names.image_dir(TILES[1]) / "status.json", {"status": "rejected", "reason": None})
    counts = {"products": 7, "caltables": 1, "verdicts": 2, "sources": 0, "unreadable": 2}
    assert rebuild(tree, keep=3) == counts
    found = dict(ask(tree, "SELECT path, problem FROM unreadable"))
    assert "expected a readable JSON file" in found[names.image_dir(TILES[0])]
    assert found[names.image_dir(TILES[1])] == "expected status ok, or rejected with a reason"


def test_products_in_the_making_are_passed_over(tree):
    write_json(tree / f"{names.image_dir(TILES[0])}.part.77" / "status.json", status())
    assert len(list(read_tree(tree))) == 9


def test_a_damaged_registry_is_found_and_a_backup_takes_its_place(tree):
    path = tree / "state" / PRODUCTS
    kept = backup(path, keep=3)
    assert backup(path, keep=3) is None
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)
    assert problems(path)
    assert restore(path, None, keep=3) == kept
    assert problems(path) == []
    path.write_bytes(b"not a database at all")
    assert "not a registry" in problems(path)[0]


def test_restoring_from_nothing_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"no backup of it in .*; build it anew: contimg registry build"):
        restore(tmp_path / "state" / PRODUCTS, None, keep=3)


def test_a_foreign_key_that_leads_nowhere_is_a_problem(tree):
    path = tree / "state" / PRODUCTS
    path.chmod(0o644)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO metric_value VALUES (999, 1, 1.0)")
        connection.commit()
    assert "refers to a product that is not there" in problems(path)[0]


def test_the_state_of_others_changes_with_their_products_only(tree):
    own = {names.image_dir(TILES[0]), names.science_ms(TILES[0]), f"ms/science/{DAY}/{TILES[0]}.json"}
    own |= {names.tile_verdict(TILES[0]), names.receipt(DAY, "0830+55")}
    before = state_of_others(tree, own)
    (tree / names.tile_verdict(TILES[0])).touch()
    publish(tree, 3)
    write_json(tree / names.science_sidecar(TILES[0]), converted(TILES[0], dec_deg=54.0))
    write_json(tree / "images" / DAY / f"{TILES[0]}.part.1" / "status.json", status())
    assert state_of_others(tree, own) == before
    publish(tree, 3, withdrawn="wrong")
    after = state_of_others(tree, own)
    assert after != before
    shutil.rmtree(tree / MOSAIC)
    assert state_of_others(tree, own) not in (before, after)


def test_numbers_of_metrics_leave_out_what_has_a_row_for_each_antenna():
    metrics = {
        "rms_jy": 1,
        "apply": {"flag_fraction": 0.5, "note": "x"},
        "antennas": {"1": {"a": 2.0}},
        "flag_fraction_by_antenna": {"1": 0.1},
        "beam": [1.0, 2.0],
    }
    assert dict(numbers(metrics)) == {"rms_jy": 1.0, "apply.flag_fraction": 0.5}


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (["tables", "--at", f"{DAY}T19:00:00", "--dec", "55.04"], f"{CAL}  0834+555    -5.87"),
        (["tables", "--at", "60978.8", "--dec", "55.2"], "0 found"),
        (["tables", "--at", "60979.8", "--dec", "55", "--hours", "2"], "0 found"),
        (["tiles", "--date", DAY, "--rms-above", "1.5"], "1 found"),
        (["tiles", "--rms-above", "0.5"], "2 found"),
        (["products", "--calibrator", "0834+555"], "6 found"),
        (["rejected"], "no solution"),
        (["gates", "--date", DAY], "3 found"),
        (["gates", "--date", "2025-10-31"], "0 found"),
        (["published"], "withdrawn"),
    ],
)
def test_the_usual_questions(tree, capsys, question, said):
    assert main(["query", "--products", str(tree), *question]) == 0
    assert said in capsys.readouterr().out


def test_tiles_are_listed_without_a_limit_a_line_each_with_the_groups_left_out(tree, capsys):
    lost = [(f"{DAY}T13:15:27", "15 of 16 subbands"), ("2025-10-31T00:00:00", "another date")]
    told = {"left_out": [{"tile": tile, "reason": reason} for tile, reason in lost]}
    write_json(tree / "plan" / "a.report.json", told)
    assert main(["query", "--products", str(tree), "--csv", "tiles", "--date", DAY]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading == "tile,rms_mjy,rms_over_expected,flagged,caltable,verdict,status,reason"
    assert rows == [
        f"{TILES[0]},1,1.1,0.1,{TILES[1]}_0834+555,pass,ok,",
        f"{TILES[1]},2,,0.1,{TILES[1]}_0834+555,,ok,",
        f"{TILES[2]},,,0.1,,,rejected,no solution",
        f"{DAY}T13:15:27,,,,,,left out,15 of 16 subbands",
    ]


def test_a_tile_that_is_noisier_than_expected_has_the_verdicts_reason(tree, capsys):
    named = replace(gate(1.7, 3.0, qa.PASS), name="rms")
    record = qa.record(names.image_dir(TILES[0]), "tile", [named], metrics={"why_noisy": "half is flagged"})
    write_json(tree / names.tile_verdict(TILES[0]), record)
    assert main(["registry", "build", "--products", str(tree)]) == 0
    capsys.readouterr()
    assert main(["query", "--products", str(tree), "--csv", "tiles", "--rms-above", "0.5"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(",")[:3] for row in rows] == [[TILES[1], "2", ""], [TILES[0], "1", "1.7"]]
    assert rows[1].endswith("pass,ok,half is flagged")


def test_mosaics_are_listed_with_noise_tiles_verdict_and_publication(tree, capsys):
    assert main(["query", "--products", str(tree), "--csv", "mosaics"]) == 0
    _, row = capsys.readouterr().out.splitlines()
    assert row.startswith(f"{MOSAIC},0.9,2 of 3,fail,ok,v2 current,")


def test_a_strip_without_tables_is_answered_with_those_that_have_some(tree, capsys):
    main(["query", "--products", str(tree), "tables", "--at", f"{DAY}T19:00:00", "--dec", "37"])
    assert (
        "no good caltable of a strip at +37 within 12 h; strips with good caltables: +55"
        in capsys.readouterr().err
    )


def test_an_answer_of_a_registry_that_is_older_than_its_tree_says_so(tree, capsys):
    words = ["query", "--products", str(tree), "published"]
    main(words)
    assert "older" not in capsys.readouterr().err
    publish(tree, 3, withdrawn="wrong again")
    main(words)
    said = capsys.readouterr().err
    assert f"the registry is older than the tree (published/{DAY}/0830+55 changed since)" in said
    assert "contimg registry build --products" in said


def test_a_question_without_a_registry_says_how_to_build_it(tmp_path, capsys):
    assert main(["query", "--products", str(tmp_path), "rejected"]) == 2
    assert "no such file; build it: contimg registry build" in capsys.readouterr().err


def test_check_tells_a_stale_registry(tree, capsys):
    command = ["registry", "check", "--products", str(tree)]
    assert main(command) == 0
    plant(tree, rms=(7e-3, 2e-3, 3e-3))
    assert main(command) == 1
    assert "products.sqlite3: differs from the sidecars" in capsys.readouterr().out
    assert main(["registry", "build", "--products", str(tree)]) == 0
    assert main(command) == 0


ODD = {
    "half": "{half",
    "not UTF-8": b'{"status": "ok", "reason": null, "x": "\xff"}',
    "a list": "[]",
    "only a status": '{"status": "ok", "reason": null}',
    "metrics null": '{"status": "ok", "reason": null, "metrics": null}',
    "metrics a list": '{"status": "ok", "reason": null, "metrics": [1]}',
    "a reason that is a number": '{"status": "rejected", "reason": 5}',
    "a huge number": '{"status": "ok", "reason": null, "metrics": {"x": 1' + 400 * "0" + "}}",
    "a number of 70 bits": f'{{"status": "ok", "reason": null, "caltables": [], "metrics": {{"mjd_start": {2**70}}}}}',
    "half a character": '{"status": "rejected", "reason": "\\ud800"}',
    "a deep nest": '{"status": "ok", "reason": null, "metrics": ' + 100000 * '{"a":' + "1" + 100000 * "}" + "}",
    "a pointing in words": '{"status": "ok", "reason": null, "metrics": {"pointing": "x"}}',
    "an rms that is a table": '{"status": "ok", "reason": null, "metrics": {"rms_jy": {"a": 1}}}',
    "tiles null": '{"status": "ok", "reason": null, "tiles": null}',
    "tiles without status": '{"status": "ok", "reason": null, "tiles": [{"tile": "x"}]}',
}  # fmt: skip


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_any_json_is_passed_and_everything_else_is_there(tree, text):
    rebuild(tree, keep=1)
    with closing(open_readonly(tree / "state" / PRODUCTS)) as before:
        paths = {row[0] for row in before.execute("SELECT path FROM product")}
    odd = tree / names.image_dir(TILES[0])
    (odd / "status.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    rebuild(tree, keep=1)
    assert problems(tree / "state" / PRODUCTS) == []
    with closing(open_readonly(tree / "state" / PRODUCTS)) as after:
        there = {row[0] for row in after.execute("SELECT path FROM product")}
        unreadable = {row[0] for row in after.execute("SELECT path FROM unreadable")}
    assert there | unreadable == paths
    assert paths - there <= {f"images/{DAY}/{TILES[0]}"}


@pytest.mark.parametrize("text", ["{half", "[]", '{"sources": {}}', "{}"])
def test_an_odd_manifest_or_verdict_is_listed(tree, text):
    folder = tree / "published" / DAY / "odd" / "v1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    (tree / "qa" / DAY).mkdir(parents=True, exist_ok=True)
    (tree / "qa" / DAY / "odd.json").write_text(text)
    (tree / "qa" / DAY / "gates.json").write_text('{"verdict": "pass", "gates": null}')
    rebuild(tree, keep=1)
    with closing(open_readonly(tree / "state" / PRODUCTS)) as built:
        found = {row[0] for row in built.execute("SELECT path FROM unreadable")}
    assert found == {f"published/{DAY}/odd", f"qa/{DAY}/odd.json", f"qa/{DAY}/gates.json"}


def test_anybodys_tools_open_a_registry_where_nobody_may_write(tree):
    rebuild(tree, keep=1)
    path = tree / "state" / PRODUCTS
    assert path.read_bytes()[18:20] == b"\x01\x01"  # the header's versions of writing and reading: 2 is WAL
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert plain.execute("SELECT count(*) FROM product").fetchone()[0] > 0
    assert [one.name for one in path.parent.glob(f"{PRODUCTS}-*")] == []


def test_a_registry_is_checked_where_nobody_may_write(tree, monkeypatch):
    rebuild(tree, keep=1)
    monkeypatch.setattr("contimg.registry.files.os.access", lambda *_: False)
    before = sorted((tree / "state").iterdir())
    monkeypatch.setattr(
        "contimg.registry.files.build",
        lambda *_: (
            pytest.fail("something was written there") if sorted((tree / "state").iterdir()) != before else {}
        ),
    )
    monkeypatch.setattr("contimg.registry.files.same_content", lambda *_: True)
    assert as_rebuilt(tree) == []


def test_a_registry_is_restored_from_its_own_backups_only(tree, capsys):
    rebuild(tree, keep=3)
    other = backup(tree / "state" / CALTABLES, keep=3)
    with pytest.raises(InputError, match=f"a {CALTABLES}, expected a {PRODUCTS}"):
        restore(tree / "state" / PRODUCTS, other, keep=3)
    renamed = tree / "mine.sqlite3"
    shutil.copy(other, renamed)
    command = ["registry", "restore", "--products", str(tree), "--from", str(renamed)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{CALTABLES}: restored from mine.sqlite3\n"
    renamed.chmod(0o644)
    renamed.write_text("no registry")
    assert main(command) == 2


def test_one_build_at_a_time(tree):
    folder = tree / "state"
    rebuild(tree, keep=1)
    lock = (folder / "registry.lock").open("r+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    build = threading.Thread(target=rebuild, args=(tree,), kwargs={"keep": 1})
    build.start()
    build.join(0.3)
    assert build.is_alive()
    lock.close()
    build.join(30)
    assert not build.is_alive()
