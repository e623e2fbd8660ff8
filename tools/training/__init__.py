"""The recipe of the starter model: compose and render data, train a tokenizer and a LLaMA, export, evaluate.
Nothing at run time imports this package, and every input is a path given on the command line."""
