"""The page of `metacli draw`: classes drawn by hand, and a model that learns them at once; the extra `web`."""
