"""How a chosen network should be trained, one decision a function, each with its reason."""
