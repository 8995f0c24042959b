"""A simulated campus: the scraper's contract over HTTP, from a recorded season or from seeded chance.

Run it with `python -m workshop.campus`. `sections` holds what is true of a section and when, `tape` and `chance`
make such timelines, `campus` keeps clock, hand-made changes and faults, `server` is its HTTP face.
"""
