-- Every product of the tree, from its sidecar. Rows are numbered in order of path, so that two builds of the same
-- tree are the same to the byte of their dumps. docs/registry.md explains the columns.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE product (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (
        kind IN ({kinds})
    ),
    date TEXT NOT NULL,
    name TEXT NOT NULL,
    tile TEXT,
    calibrator TEXT,
    status TEXT NOT NULL CHECK (status IN ('ok', 'rejected')),
    reason TEXT,
    mjd_start REAL,
    mjd_end REAL,
    ra_deg REAL,
    dec_deg REAL,
    rms_jy REAL,
    flag_fraction REAL,
    n_raw_files INTEGER NOT NULL,
    software TEXT,
    git_commit TEXT,
    CHECK ((status = 'ok') = (reason IS NULL))
);

CREATE TABLE metric_name (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE metric_value (
    product_id INTEGER NOT NULL REFERENCES product (id),
    name_id INTEGER NOT NULL REFERENCES metric_name (id),
    value REAL NOT NULL,
    PRIMARY KEY (product_id, name_id)
) WITHOUT ROWID;

CREATE TABLE source (
    product_id INTEGER NOT NULL REFERENCES product (id),
    path TEXT NOT NULL,
    source_id INTEGER REFERENCES product (id),
    PRIMARY KEY (product_id, path)
) WITHOUT ROWID;

CREATE TABLE mosaic_tile (
    mosaic_id INTEGER NOT NULL REFERENCES product (id),
    tile TEXT NOT NULL,
    image_id INTEGER REFERENCES product (id),
    status TEXT NOT NULL,
    reason TEXT,
    weight REAL,
    PRIMARY KEY (mosaic_id, tile)
) WITHOUT ROWID;

CREATE TABLE verdict (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    product TEXT NOT NULL,
    product_id INTEGER REFERENCES product (id),
    date TEXT NOT NULL,
    kind TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('pass', 'fail')),
    reason TEXT
);

CREATE TABLE gate (
    verdict_id INTEGER NOT NULL REFERENCES verdict (id),
    name TEXT NOT NULL,
    value REAL,
    low REAL,
    high REAL,
    unit TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('pass', 'fail', 'not evaluated')),
    reason TEXT,
    advisory INTEGER NOT NULL,
    PRIMARY KEY (verdict_id, name)
) WITHOUT ROWID;

CREATE TABLE publication (
    path TEXT PRIMARY KEY,
    product TEXT NOT NULL,
    product_id INTEGER REFERENCES product (id),
    date TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('current', 'superseded', 'withdrawn')),
    published TEXT NOT NULL,
    reason TEXT
) WITHOUT ROWID;

CREATE TABLE sky_source (
    source_id TEXT PRIMARY KEY,
    ra_deg REAL NOT NULL,
    dec_deg REAL NOT NULL,
    flux_jy REAL,
    origin TEXT NOT NULL CHECK (origin IN ('catalog', 'own', 'blind')),
    name TEXT NOT NULL,
    n_dates INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE unreadable (
    path TEXT PRIMARY KEY,
    problem TEXT NOT NULL
) WITHOUT ROWID;
