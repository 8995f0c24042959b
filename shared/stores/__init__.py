"""What is remembered: Postgres, Redis, and what is kept in them."""
