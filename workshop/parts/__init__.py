"""The embedded parts: real servers as children of this process, and what stand-ins are built of."""
