"""Seeing and acting: health, metrics, the operator's commands, word to the supervisor."""
