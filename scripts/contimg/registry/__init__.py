"""The registries: SQLite files built from the sidecars, and the questions they answer."""
