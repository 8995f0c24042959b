"""What people are told: the words, the templates, the unsubscribe tokens."""
