"""The comparison with the old Workers version: what decides alike, and where this project decides better."""

PREFIX = "COMPARE_"
"""Of the names in the environment that are a comparison's own; `shared.environment.prefixed` reads them."""
