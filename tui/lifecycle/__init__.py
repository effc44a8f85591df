"""Commands that start, watch and stop a gateway in the background; none loads a screen."""
