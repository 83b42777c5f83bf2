"""First light: what INSTRUMENT's assumptions say of raw files, held against the files themselves."""
