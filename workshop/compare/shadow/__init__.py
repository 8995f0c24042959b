"""`compare shadow`: our checks beside the old side's, in production, on a database of their own."""
