"""Measurement of what goes wrong on people's own prompts (`python -m tools.people FILE...`)."""
