"""Training of the starter model: compose and render data, train a tokenizer and a LLaMA, export, evaluate.

Every input is a path given on the command line.
"""
