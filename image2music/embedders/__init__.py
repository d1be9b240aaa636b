"""Models that put texts and pictures into one vector space. Searching is in `index`."""
