"""What happens, told in order. Doors call flows; flows call core, stores and clients, which are handed in."""
