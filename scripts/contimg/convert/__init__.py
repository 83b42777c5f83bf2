"""Raw subband files to a flagged Measurement Set: rule `convert_tile`."""
