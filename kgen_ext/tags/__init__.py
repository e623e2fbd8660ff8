"""Tags: their written form, comparison form and category."""
