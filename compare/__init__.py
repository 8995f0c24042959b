"""The comparison with the old Workers version: what decides alike, and where this project decides better."""
