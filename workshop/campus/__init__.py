"""A simulated campus: the scraper's contract and the catalog's over HTTP, from a recorded season or from seeded chance.

Run it with `python -m workshop.campus`. `sections` holds what is true of a section and when, `tape` and `chance`
make such timelines, `campus` keeps clock and hand-made changes, `server` is its HTTP face, and `asu` the face that
the university's own catalog shows: whole subjects at once.
"""
