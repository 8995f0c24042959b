"""The story on one floor: a tick queues what is due, a check looks and commits, the rescue finds what got lost."""
