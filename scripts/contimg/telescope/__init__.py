"""Where the array points and how its beam looks."""
