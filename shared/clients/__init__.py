"""Who is asked: the scraper and Resend, each behind a small class that says plainly what came of it."""
