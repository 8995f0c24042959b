"""Rules only: no input or output, no clock, no settings, nothing but the standard library."""
