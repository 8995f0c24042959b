"""Mail: from the outbox to Resend, and what became of it."""
