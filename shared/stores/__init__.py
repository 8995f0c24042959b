"""What is remembered: Postgres, Redis, and what is kept in them."""

from shared.lean import absent

with absent("psycopg"):  # Huey loads it, 5 MB, for a storage of its own; the gateway loads it when it is wanted
    import huey as huey
