"""What is in `incoming`: raw files, their headers, the tiles they make."""
