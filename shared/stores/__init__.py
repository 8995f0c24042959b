"""What is remembered: Postgres, Redis, and what is kept in them."""

from shared.stores import lean as lean
