"""Light curves: photometry of all nights on one scale, what varies in them, and how much."""
