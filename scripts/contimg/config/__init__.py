"""The configuration: its model, the files it is read from, the documents made of it."""
