"""A demonstration that runs the real thing against a model that plays a script."""
