"""`compare replay`: one campus played to both sides, each on a database of its own, and every decision compared."""
