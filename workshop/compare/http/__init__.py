"""`compare http`: the same requests to both sides, field by field."""
