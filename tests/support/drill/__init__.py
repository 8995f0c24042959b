"""The move, rehearsed on the loopback: both sides on one database, a front door, students, a book of who owes what."""
