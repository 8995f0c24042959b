"""What the functions and the consumer share, in rooms by subject (docs/architecture.md)."""
