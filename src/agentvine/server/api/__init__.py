"""The HTTP routes: each translates a request into one call of a contract, and its result into a reply."""
