-- After the rows: indices, and the views that users need not know the tables for.
CREATE INDEX product_by_date ON product (date, kind);
CREATE INDEX product_by_kind ON product (kind, status, rms_jy);
CREATE INDEX product_rejected ON product (path) WHERE status = 'rejected';
CREATE INDEX product_by_tile ON product (tile);
CREATE INDEX product_by_calibrator ON product (calibrator, date) WHERE calibrator IS NOT NULL;
CREATE INDEX product_by_time ON product (mjd_start);
CREATE INDEX metric_by_name ON metric_value (name_id, value);
CREATE INDEX source_by_path ON source (path);
CREATE INDEX source_by_source ON source (source_id);
CREATE INDEX mosaic_tile_by_tile ON mosaic_tile (tile);
CREATE INDEX mosaic_tile_by_image ON mosaic_tile (image_id);
CREATE INDEX verdict_by_date ON verdict (date, verdict);
CREATE INDEX verdict_by_product ON verdict (product_id);
CREATE INDEX gate_failed ON gate (name, verdict_id) WHERE verdict = 'fail';
CREATE INDEX sky_source_by_dec ON sky_source (dec_deg, ra_deg);
CREATE INDEX publication_by_date ON publication (date);
CREATE INDEX publication_by_product ON publication (product_id);

UPDATE source
SET source_id = (SELECT id FROM product WHERE product.path = source.path);

UPDATE mosaic_tile
SET image_id = (SELECT id FROM product WHERE product.tile = mosaic_tile.tile AND kind = 'image');

UPDATE verdict
SET product_id = (SELECT id FROM product WHERE product.path = verdict.product);

UPDATE publication
SET product_id = (SELECT id FROM product WHERE product.path = publication.product);

UPDATE product
SET (mjd_start, mjd_end, ra_deg, dec_deg) = (
    SELECT ms.mjd_start, ms.mjd_end, ms.ra_deg, ms.dec_deg
    FROM product AS ms
    WHERE ms.tile = product.tile AND ms.kind = 'science_ms'
)
WHERE kind IN ('image', 'calibrated_ms');

CREATE VIEW metric AS
SELECT product_id, name, value FROM metric_value JOIN metric_name ON metric_name.id = name_id;

CREATE VIEW tiles AS
SELECT image.*, metric.value AS dynamic_range
FROM product AS image
LEFT JOIN metric ON metric.product_id = image.id AND metric.name = 'dynamic_range'
WHERE image.kind = 'image';

CREATE VIEW mosaics AS
SELECT product.*, (
    SELECT count(*) FROM mosaic_tile WHERE mosaic_id = product.id AND weight > 0
) AS n_tiles
FROM product
WHERE kind = 'mosaic';

CREATE VIEW rejected AS
SELECT path, kind, date, tile, calibrator, reason FROM product WHERE status = 'rejected';

CREATE VIEW gates AS
SELECT verdict.product, verdict.date, gate.name AS gate, gate.value, gate.low, gate.high, gate.unit, gate.verdict,
    gate.reason, gate.advisory
FROM gate
JOIN verdict ON verdict.id = gate.verdict_id;

CREATE VIEW photometry AS
SELECT
    product.*,
    measured.value AS n_sources,
    seen.value AS n_seen,
    ratio.value AS image_over_visibilities
FROM product
LEFT JOIN metric AS measured ON measured.product_id = product.id AND measured.name = 'n_sources'
LEFT JOIN metric AS seen ON seen.product_id = product.id AND seen.name = 'n_seen'
LEFT JOIN metric AS ratio ON ratio.product_id = product.id AND ratio.name = 'image_over_visibilities'
WHERE product.kind = 'photometry';
