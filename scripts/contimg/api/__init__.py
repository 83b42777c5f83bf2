"""What the service and its clients say to each other: pydantic types, importing nothing else of the package."""
