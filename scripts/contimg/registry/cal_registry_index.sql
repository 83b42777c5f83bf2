-- After the rows: indices, and the views that users need not know the tables for.
CREATE INDEX caltable_by_strip ON caltable (strip_deg, mjd);
CREATE INDEX caltable_by_calibrator ON caltable (calibrator, mjd);
CREATE INDEX caltable_by_time ON caltable (mjd);
CREATE INDEX antenna_by_name ON antenna (name);
CREATE INDEX application_by_table ON application (caltable_id);

UPDATE application
SET caltable_id = (SELECT id FROM caltable WHERE caltable.path = application.caltable_path);

CREATE VIEW good AS
SELECT caltable.*, (SELECT count(*) FROM application WHERE caltable_id = caltable.id) AS n_products
FROM caltable
WHERE status = 'ok';
