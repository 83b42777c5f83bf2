-- Every caltable of the tree, from its sidecar and that of the calibrator's Measurement Set. docs/registry.md.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE caltable (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    date TEXT NOT NULL,
    tile TEXT NOT NULL,
    calibrator TEXT NOT NULL,
    mjd REAL NOT NULL,
    dec_deg REAL,
    strip_deg REAL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'rejected')),
    reason TEXT,
    refant TEXT,
    apparent_flux_jy REAL,
    n_antennas_solved INTEGER,
    flagged_fraction REAL,
    phase_scatter_deg REAL,
    amplitude_scatter REAL,
    snr_gain REAL,
    snr_bandpass REAL,
    software TEXT,
    git_commit TEXT,
    CHECK ((status = 'ok') = (reason IS NULL))
);

CREATE TABLE antenna (
    caltable_id INTEGER NOT NULL REFERENCES caltable (id),
    name TEXT NOT NULL,
    flagged_fraction REAL,
    amplitude REAL,
    snr_gain REAL,
    snr_bandpass REAL,
    phase_scatter_deg REAL,
    amplitude_scatter REAL,
    PRIMARY KEY (caltable_id, name)
) WITHOUT ROWID;

CREATE TABLE application (
    caltable_path TEXT NOT NULL,
    caltable_id INTEGER REFERENCES caltable (id),
    product TEXT NOT NULL,
    borrowed INTEGER NOT NULL CHECK (borrowed IN (0, 1)),
    PRIMARY KEY (product)
) WITHOUT ROWID;
