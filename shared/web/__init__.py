"""HTTP: the door that every function shares, the table of routes, and the host that serves them all."""
