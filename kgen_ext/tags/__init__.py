"""Storey 1: what a tag is - its comparison form, its category, patterns over it, and the templates tags are put into.

Knows no prompt syntax (a tag arrives without weights or brackets round it) and no model.
"""
