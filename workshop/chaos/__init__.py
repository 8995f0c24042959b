"""Chaos: the product plays a campus while a nemesis breaks everything around it, and every email is compared."""
