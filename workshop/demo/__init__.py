"""The demo: a campus played through the whole product, and every email held against what the campus did."""
