"""The page of `metacli draw`, on which a model learns classes drawn by hand. Needs the extra `web`."""
