"""The page of `metacli draw`, on which a user draws new classes for a model. Needs the extra `web`."""
