"""What stands below everything: names, products, errors, options, provenance."""
