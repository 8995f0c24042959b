"""What is not needed on the server: stand-ins, embedded parts, demo, chaos, bench, comparison."""
