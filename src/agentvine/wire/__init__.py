"""How the wings speak: the contract, its messages, routes, problems and channels. Pure: no I/O."""
