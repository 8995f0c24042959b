"""Is it well: health, alerts, metrics, the doctor, word to the supervisor."""
