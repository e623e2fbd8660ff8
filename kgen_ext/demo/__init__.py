"""The demo page: a prompt, its expansion and both as pictures."""
